"""`manage.py restore FILE`: what `backup` wrote, put back. Refused while instances run."""

import sqlite3
import sys
from argparse import ArgumentParser
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from redis.exceptions import RedisError

from flotilla.command_line import OurCommand, Status, away
from flotilla.realtime.api.inspection import instances
from project.backup import CannotBackUp, restore


class Command(OurCommand):
    """Puts a backup back."""

    help = "Puts back what `backup` wrote, over what is there; - is the standard input. Refused while instances run."
    examples = (("/backups/monday.tar", "with every instance stopped"),)
    statuses = {
        Status.NOT_DONE: "nothing was put back: instances run, or this is no backup",
        Status.AWAY: "Redis does not say whether instances run",
    }
    shape = {"file": (), "put_back": ()}
    requires_system_checks = []  # there may be no secrets yet

    def add_arguments(self, parser: ArgumentParser) -> None:
        """From where."""
        parser.add_argument("file", help="the file to read, - for the standard input")
        parser.add_argument(
            "--unchecked", action="store_true", help="do not ask Redis whether instances run (it may be away)"
        )

    def handle(self, *, file: str, unchecked: bool, as_json: bool, **_: Any) -> None:
        """Look who runs, then put it back."""
        if not unchecked:
            _refuse_while_instances_run()
        try:
            with nullcontext(sys.stdin.buffer) if file == "-" else Path(file).open("rb") as source:
                names = restore(source, settings.DATABASES["default"], settings.ENVIRONMENT.values)
        except (CannotBackUp, OSError, sqlite3.Error) as error:
            raise CommandError(str(error)) from None
        if as_json:
            self.tell({"file": file, "put_back": names})
        else:
            self.stdout.write(f"put back: {', '.join(names)}")


def _refuse_while_instances_run() -> None:
    try:
        running = [row["name"] for row in instances().rows]
    except (RedisError, OSError) as error:
        raise away(f"Redis does not say whether instances run ({error}): start it, or say --unchecked") from None
    if running:
        raise CommandError(f"instances run, and would go on with what they have read: stop {', '.join(running)}")
