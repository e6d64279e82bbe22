"""The page of a board."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from .models import Board, Ticket


@require_safe
@login_required
def board(request: HttpRequest, name: str = "") -> HttpResponse:
    """A board, the first one without a name; its tickets come over the connection."""
    found = get_object_or_404(Board, pk=name) if name else Board.objects.first()
    return render(request, "board/board.html", {"board": found, "states": Ticket.State.choices})
