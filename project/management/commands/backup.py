"""`manage.py backup FILE`: the database and the secrets' files in one file, while everything runs."""

import os
import sqlite3
import sys
from argparse import ArgumentParser
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from flotilla.command_line import OurCommand, Status, misused
from flotilla.realtime.server.private_files import UMASK
from project.backup import CannotBackUp, back_up


class Command(OurCommand):
    """Writes a backup."""

    help = "Writes the database and the secrets' files into one tar file (0600); - is the standard output."
    examples = (("/backups/monday.tar", "while everything runs"),)
    statuses = {Status.NOT_DONE: "it could not be written: then there is no such file"}
    shape = {"file": (), "written": ()}
    requires_system_checks = []  # what is wrong with the configuration must not be in a backup's way

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Where to."""
        parser.add_argument("file", help="the file to write, - for the standard output")

    def handle(self, *, file: str, as_json: bool, **_: Any) -> None:
        """Write it under another name, and give it its own when it is whole."""
        if as_json and file == "-":
            raise misused("the backup goes to the standard output: name a file to have --json there")
        made = None if file == "-" else Path(f"{file}.{os.getpid()}")
        try:
            with _open(made) as target:
                names = back_up(target, settings.DATABASES["default"], settings.ENVIRONMENT.values)
            if made is not None:
                made.replace(file)
        except (CannotBackUp, OSError, sqlite3.Error) as error:
            if made is not None:
                made.unlink(missing_ok=True)
            raise CommandError(str(error)) from None
        if as_json:
            self.tell({"file": file, "written": names})
        else:
            self.stderr.write(f"backed up: {', '.join(names)}")


def _open(path: Path | None) -> Any:
    if path is None:
        return nullcontext(sys.stdout.buffer)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 & ~UMASK), "wb")
