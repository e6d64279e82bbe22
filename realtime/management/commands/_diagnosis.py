"""What the commands share that find out what is wrong: for how long they measure, and who has not answered."""

from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from django.core.management.base import CommandError

from flotilla.command_line import seconds
from flotilla.realtime.api.diagnosis import Asked
from flotilla.realtime.management.commands._control import add_within
from flotilla.realtime.management.commands._shell import ClusterCommand
from flotilla.realtime.management.commands._table import printable, table
from flotilla.realtime.node.intervals import MAX_SECONDS


class DiagnosisCommand(ClusterCommand):
    """A command that has every instance measure for some seconds, and shows rows."""

    seconds = 2.0

    def add_arguments(self, parser: ArgumentParser) -> None:
        measured = seconds(0.1, MAX_SECONDS)
        parser.add_argument(
            "--seconds", type=measured, default=self.seconds, help="for how long is measured (%(default)s)"
        )
        add_within(parser)

    def show(self, heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A table, unless it is empty."""
        for text in table(heads, rows) if rows else ():
            self.stdout.write(text)

    def judge_silence(self, asked: Asked) -> None:
        """Raise CommandError where an instance has not answered, with its name."""
        if asked.silent:
            names = ", ".join(printable(about["name"]) for about in asked.silent)
            raise CommandError(f"{len(asked.silent)} instances have not answered within the deadline: {names}.")


def bytes_shown(value: float) -> str:
    """Bytes for people: 1.4 MB."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value:.0f} B"


def ago(seconds: float) -> str:
    """A time that has passed, for people: 3 min."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def named(rows: Sequence[dict[str, Any]], key: str, most: int = 10) -> str:
    """Some names of a list, and how many more there are."""
    names = [printable(row[key]) for row in rows[:most]]
    return ", ".join(names) + (f" … {len(rows) - most} more" if len(rows) > most else "")
