"""Permission hooks of the `asked` namespace, with the ORM and without."""

from typing import Any

from django.contrib.auth.models import User


def may_subscribe(user: Any, channel: str, info: Any) -> bool:
    """Django users whose first name is the rest of the channel's name."""
    return isinstance(user, User) and User.objects.filter(pk=user.pk, first_name=channel.partition(":")[2]).exists()


async def may_publish(user: Any, channel: str, info: Any) -> bool:
    """Whoever says please."""
    return isinstance(info, dict) and info.get("please") is True


def is_member(user: Any, channel: str, info: Any) -> bool:
    """Members of the club that is the rest of the channel's name."""
    from tests.cluster.support.clusterapp.models import Membership

    return isinstance(user, User) and Membership.objects.filter(user=user, club=channel.partition(":")[2]).exists()
