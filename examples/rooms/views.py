"""Three pages and the messages of a room. Everything is for members: to others a room does not exist."""

from django.contrib.auth.decorators import login_required
from django.forms import modelform_factory
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_http_methods, require_safe

from .models import Membership, Message, Room

SHOWN = 50  # messages a page begins with
MessageForm = modelform_factory(Message, fields=["text"])
members_only = login_required(login_url="rooms:login")


@require_safe
@members_only
def index(request: HttpRequest) -> HttpResponse:
    """The user's rooms."""
    return render(request, "rooms/index.html", {"rooms": Room.objects.filter(members=request.user.pk)})


@require_safe
@members_only
def room(request: HttpRequest, name: str) -> HttpResponse:
    """A room; what is said in it comes from `messages` and over the connection."""
    return render(request, "rooms/room.html", {"room": _membership(request, name).room})


@require_http_methods(["GET", "POST"])
@members_only
def messages(request: HttpRequest, name: str) -> HttpResponse:
    """GET: who the members are and what was said last. POST `text`: say something."""
    mine = _membership(request, name)
    if request.method == "POST":
        form = MessageForm(request.POST, instance=Message(room=mine.room, author=mine.user))
        if not form.is_valid():
            return JsonResponse(form.errors, status=400)
        return JsonResponse(form.save().shown(), status=201)
    said = mine.room.message_set.select_related("author").order_by("-pk")[:SHOWN]
    members = {str(member.pk): member.get_username() for member in mine.room.members.all()}
    return JsonResponse({"members": members, "messages": [message.shown() for message in said]})


def _membership(request: HttpRequest, name: str) -> Membership:
    return get_object_or_404(Membership.objects.select_related("room", "user"), room=name, user=request.user.pk)
