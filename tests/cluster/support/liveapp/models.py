"""Tickets on boards."""

from django.db import models


class Ticket(models.Model):
    """A row of a board; `turn` grows with each change of it."""

    board_id = models.IntegerField()
    name = models.CharField(max_length=50, unique=True)
    turn = models.IntegerField()

    def __str__(self) -> str:
        return self.name
