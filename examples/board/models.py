"""Boards and their tickets."""

from django.db import models

from flotilla import LiveManager


class Board(models.Model):
    """Its tickets are shown in the channel `tickets:<name>`."""

    name = models.SlugField(primary_key=True)

    def __str__(self) -> str:
        return self.name


class Ticket(models.Model):
    """Something to be done."""

    class State(models.TextChoices):
        """The columns of a board."""

        TODO = "todo", "To do"
        DOING = "doing", "Doing"
        DONE = "done", "Done"

    board = models.ForeignKey(Board, on_delete=models.CASCADE)
    title = models.CharField(max_length=100)
    state = models.CharField(max_length=5, choices=State, default=State.TODO)
    position = models.FloatField(default=0)  # between those of its neighbours
    objects = LiveManager()  # changes of many tickets at a time are seen as well

    def __str__(self) -> str:
        return self.title
