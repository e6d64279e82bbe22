"""Memberships: who may be in which channel of the `club` namespace."""

from django.conf import settings
from django.db import models

from flotilla import Affected, affects


class Membership(models.Model):
    """A user in a club."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    club = models.CharField(max_length=50)

    def __str__(self) -> str:
        return f"{self.user} in {self.club}"


@affects(Membership)
def channels(membership: Membership) -> Affected:
    return Affected(user=membership.user_id, channel=f"club:{membership.club}")
