"""What the commands to connections share: whom they are about, and how they tell what was done."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from flotilla.realtime.management.commands._shell import ClusterCommand, add_user, asked_user, of_user, told
from flotilla.realtime.node.control import Acknowledged


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
        if options["as_json"]:
            self.tell(of_user(user) | done._asdict())
        else:
            if user is not None:
                self.stdout.write(f"user: {user}")
            self.stdout.write(self.style.SUCCESS(f"{self.done.format(done.hit)}; {_answered(done)}."))
        if not done.complete:
            raise CommandError(f"{done.instances - done.answered} instances have not answered within the deadline.")


def add_within(parser: ArgumentParser) -> None:
    """The option `--within`."""
    parser.add_argument("--within", type=float, default=2.0, help="seconds to wait for the instances (%(default)s)")


def _answered(done: Acknowledged) -> str:
    return f"{done.answered} of {done.instances} instances answered"
