"""What the commands to connections share: whom they are about, and how they tell what was done."""

from argparse import ArgumentParser
from getpass import getuser
from socket import gethostname
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from flotilla.command_line import seconds
from flotilla.natural_names import NamedUser
from flotilla.realtime.management.commands._shell import ClusterCommand, add_user, asked_user, of_user, told
from flotilla.realtime.node.control import Acknowledged
from flotilla.realtime.node.journal import note_act
from flotilla.store import get_store

NOTED = ("client", "channel", "address", "seconds", "code")  # options that the journal has
MOST_WITHIN = 600.0  # seconds


class ControlCommand(ClusterCommand):
    """A command to every instance. `act` carries it out, with the user's id as `user` (None: no user was named);
    `done` says what it did, with `{}` for how many."""

    done = "{} hit"
    about_channels = True
    shape = {"user": (), "username": (), "hit": (), "answered": (), "instances": ()}

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_user(parser)
        parser.add_argument("--client", default="", help="one connection, by its id")
        if self.about_channels:
            parser.add_argument("--channel", default="", help="a channel, as in chat:lobby")
        add_within(parser)

    def act(self, **options: Any) -> Acknowledged:
        """Do it."""
        raise NotImplementedError

    def handle(self, *args: Any, **options: Any) -> None:
        user = asked_user(options)
        done = told(lambda: self.act(**options | {"user": user.id if user is not None else None}))
        self._note(user, options, done.hit)
        if options["as_json"]:
            self.tell(of_user(user) | done._asdict())
        else:
            if user is not None:
                self.stdout.write(f"user: {user}")
            self.stdout.write(self.style.SUCCESS(f"{self.done.format(done.hit)}; {_answered(done)}."))
        if not done.complete:
            raise CommandError(f"{done.instances - done.answered} instances have not answered within the deadline.")

    def _note(self, user: NamedUser | None, options: dict[str, Any], hit: int) -> None:
        """Leave it in the journal, for those who ask later what has changed."""
        name = type(self).__module__.rpartition(".")[2]
        asked = {"--user": user.id if user is not None else "", **{f"--{key}": options.get(key) for key in NOTED}}
        words = [name, options.get("channel") if not self.about_channels else None]
        words += [f"{key} {value}" for key, value in asked.items() if value and not (words[1] and key == "--channel")]
        leave_in_journal(self, " ".join(filter(None, words)), hit)


def leave_in_journal(command: BaseCommand, words: str, hit: int) -> None:
    """Note what was done from this shell, and how many were hit."""
    if not note_act(get_store(), words, f"{_account()}@{gethostname()}", hit):
        command.stderr.write("This is not in the journal (`changes`): Redis did not take it.")


def _account() -> str:
    try:
        return getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "a shell"


def add_within(parser: ArgumentParser) -> None:
    """The option `--within`."""
    within = seconds(0.1, MOST_WITHIN)
    parser.add_argument("--within", type=within, default=2.0, help="seconds to wait for the instances (%(default)s)")


def _answered(done: Acknowledged) -> str:
    return f"{done.answered} of {done.instances} instances answered"
