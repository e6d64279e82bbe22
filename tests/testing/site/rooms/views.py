"""What the project's pages do."""

from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse

from flotilla import publish
from rooms.models import Message, Room


def announce(request: HttpRequest, text: str) -> HttpResponse:
    """Tell everybody who reads the news."""
    publish("news:today", {"text": text})
    return HttpResponse("told")


@login_required
@transaction.atomic
def say(request: HttpRequest, name: str) -> HttpResponse:
    """Say something in a room."""
    Message.objects.create(room=Room.objects.get(name=name), text=request.POST["text"])
    return HttpResponse(status=201)
