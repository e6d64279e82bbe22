"""Who may subscribe: asked when somebody wants to, and again whenever it may have changed."""

from typing import Any

from .models import Membership


def is_member(user: Any, channel: str, info: Any) -> bool:
    """Members of the room that is the rest of the channel's name. A visitor has no key, and is a member of nothing."""
    room = channel.partition(":")[2]
    return Membership.objects.filter(room=room, user=getattr(user, "pk", None)).exists()
