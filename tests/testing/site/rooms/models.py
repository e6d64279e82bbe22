"""Rooms, who is in them, and what is said."""

from typing import Any

from django.conf import settings
from django.db import models

from flotilla import publish


class Room(models.Model):
    """A room; its channel is `room:` and its name."""

    name = models.SlugField(unique=True)
    members = models.ManyToManyField(settings.AUTH_USER_MODEL)

    def __str__(self) -> str:
        return self.name


class Message(models.Model):
    """Something said, which the room is told."""

    room = models.ForeignKey(Room, models.CASCADE)
    text = models.TextField()

    def __str__(self) -> str:
        return self.text

    def save(self, *args: Any, **kwargs: Any) -> None:
        super().save(*args, **kwargs)
        publish(f"room:{self.room.name}", {"text": self.text})
