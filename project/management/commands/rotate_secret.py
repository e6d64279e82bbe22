"""`manage.py rotate_secret NAME STEP`: one step of putting another secret in the place of one."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from flotilla.command_line import OurCommand, Status
from project.secret_rotation import ROTATED, STEPS, CannotRotate, Rotation

DONE = {
    "add": "a new one is accepted beside the old one, by every instance that starts from now on",
    "switch": "the new one is in use, and the old one still accepted, by every instance that starts from now on",
    "drop": "the old one is accepted no more by any instance that starts from now on",
}


class Command(OurCommand):
    """Does one step."""

    help = "One step of replacing a secret that is in a file: add a new one, switch to it, drop the old one."
    examples = (
        ("token_secret add", "accept a new one; start every instance again after each step"),
        ("token_secret switch", "use the new one"),
        ("token_secret drop", "when all tokens of the old one have expired"),
    )
    statuses = {Status.NOT_DONE: "it is not this step's turn, or a file cannot be written"}
    shape = {"name": (), "step": (), "done": ()}
    requires_system_checks = []  # a secret may be what is wrong

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which, and what to do."""
        parser.add_argument("name", choices=sorted(ROTATED), help="which secret")
        parser.add_argument("step", choices=STEPS, help="what to do now")

    def handle(self, *, name: str, step: str, as_json: bool, **_: Any) -> None:
        """Do it."""
        try:
            Rotation.of(name, settings.ENVIRONMENT.values).do(step)
        except (CannotRotate, OSError) as error:
            raise CommandError(f"{name}: {error}") from None
        if as_json:
            self.tell({"name": name, "step": step, "done": DONE[step]})
        else:
            self.stdout.write(f"{name}: {DONE[step]}")
