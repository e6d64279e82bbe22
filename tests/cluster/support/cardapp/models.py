"""What the proofs of the outbox and of live data write, and what tells afterwards which of it was committed, and when.

`Note` and `Trace` are written in the same transactions as what is published. So after everything they are the truth,
known without the outbox.
"""

from django.db import models

from flotilla import LiveManager


class Note(models.Model):
    """A durable publication of the outbox's campaign."""

    channel = models.CharField(max_length=50)
    number = models.BigIntegerField(unique=True)

    def __str__(self) -> str:
        return f"{self.channel} {self.number}"


class Slot(models.Model):
    """A card's key, which may be taken again: `generation` counts how often it was."""

    generation = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.pk} the {self.generation}. time"


class Shown(models.Model):
    """What a card has. `counter` goes up with each change, also where it moves to another board."""

    board = models.PositiveIntegerField()
    generation = models.PositiveIntegerField()
    counter = models.PositiveIntegerField(default=1)
    title = models.CharField(max_length=100, default="")

    class Meta:
        abstract = True


class Plain(Shown):
    """A row that nobody is shown."""

    def __str__(self) -> str:
        return f"{self.pk} on {self.board}"


class Card(Shown):
    """A row that is shown, with all its changes."""

    objects = LiveManager()

    def __str__(self) -> str:
        return f"{self.pk} on {self.board}"


class Trace(models.Model):
    """A state in which a card was committed. `board`: 0 where it was deleted."""

    key = models.BigIntegerField()
    generation = models.PositiveIntegerField()
    counter = models.PositiveIntegerField()
    board = models.PositiveIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(name="one_state", fields=["key", "generation", "counter"])]

    def __str__(self) -> str:
        return f"{self.key}: {self.generation}.{self.counter} on {self.board}"
