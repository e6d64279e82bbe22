"""Who may subscribe to a room."""

from typing import Any

from rooms.models import Room


def is_member(user: Any, channel: str, info: Any) -> bool:
    """Whether somebody is in the room."""
    name = channel.removeprefix("room:")
    return getattr(user, "pk", None) is not None and Room.objects.filter(name=name, members=user).exists()
