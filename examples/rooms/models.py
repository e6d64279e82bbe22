"""Rooms, who is in them, and what was said there. What is saved reaches everybody in the room once it is committed."""

from typing import Any

from django.conf import settings
from django.db import models

from flotilla import Affected, affects, publish


class Room(models.Model):
    """Its messages are published into the channel `room:<name>`."""

    name = models.SlugField(primary_key=True)
    members = models.ManyToManyField(settings.AUTH_USER_MODEL, through="Membership")

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """Who may be in a room."""

    room = models.ForeignKey(Room, on_delete=models.CASCADE)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["room", "user"], name="rooms_one_membership")]

    def __str__(self) -> str:
        return f"{self.user} in {self.room_id}"


class Message(models.Model):
    """Something that was said."""

    room = models.ForeignKey(Room, on_delete=models.CASCADE)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    text = models.CharField(max_length=1000)
    at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.text

    def save(self, *args: Any, **options: Any) -> None:
        super().save(*args, **options)
        publish(f"room:{self.room_id}", self.shown())  # inside a transaction it waits for the commit

    def shown(self) -> dict[str, Any]:
        """What members see of it."""
        author = {"user": str(self.author_id), "name": self.author.get_username()}
        return {"id": self.pk, **author, "text": self.text, "at": self.at}


@affects(Membership)
def channels(membership: Membership) -> list[Affected]:
    """A membership that comes or goes: the user's access to the room's channels is looked at again, everywhere."""
    return [Affected(membership.user_id, f"{kind}:{membership.room_id}") for kind in ("room", "typing")]
