"""Tickets on boards, with everything that makes a change hard to see."""

import uuid

from django.db import models

from flotilla import LiveManager


class Board(models.Model):
    name = models.CharField(max_length=50, default="")


class Author(models.Model):
    name = models.CharField(max_length=50)
    seen = models.IntegerField(default=0)


class Label(models.Model):
    name = models.CharField(max_length=50)


class Ticket(models.Model):
    class State(models.TextChoices):
        OPEN = "open"
        DONE = "done"

    board = models.ForeignKey(Board, models.CASCADE, null=True, related_name="tickets")
    author = models.ForeignKey(Author, models.SET_NULL, null=True, related_name="tickets")
    labels = models.ManyToManyField(Label, related_name="tickets")
    title = models.CharField(max_length=50, default="")
    state = models.CharField(max_length=10, choices=State.choices, default=State.OPEN)
    position = models.IntegerField(default=0)
    price = models.DecimalField(max_digits=8, decimal_places=2, default=0)
    code = models.UUIDField(default=uuid.uuid4, unique=True)
    hidden = models.BooleanField(default=False)
    changed_at = models.DateTimeField(auto_now=True)
    note = models.TextField(default="")

    objects = LiveManager()


class Urgent(Ticket):
    """A proxy."""

    class Meta:
        proxy = True


class Task(Ticket):
    """A ticket with a table of its own beside."""

    hours = models.IntegerField(default=0)


class Plain(models.Model):
    """A ticket as cheap as they come."""

    board = models.ForeignKey(Board, models.CASCADE, related_name="plain")
    title = models.CharField(max_length=50)
    position = models.IntegerField(default=0)
    state = models.CharField(max_length=10, default="open")

    objects = LiveManager()


class Country(models.Model):
    """Named by something else than its primary key."""

    code = models.CharField(max_length=2, unique=True)
    name = models.CharField(max_length=50)


class Parcel(models.Model):
    """A row whose key the project makes."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    country = models.ForeignKey(Country, models.CASCADE, to_field="code", null=True)
    place = models.IntegerField(default=1)

    objects = LiveManager()
