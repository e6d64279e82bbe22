"""`manage.py subscribe CHANNEL --user USER | --client ID`: put open connections into a channel from a shell."""

from argparse import ArgumentParser
from typing import Any

from flotilla.realtime.api.control import subscribe
from flotilla.realtime.management.commands._control import ControlCommand
from flotilla.realtime.node.control import Acknowledged


class Command(ControlCommand):
    """Put open connections into a channel."""

    help = "Put the open connections of a user into a channel, without asking its rules."
    done = "{} connections subscribed"
    about_channels = False
    examples = (("chat:lobby --user ann", "all open connections of a user"),)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("channel", help="the channel, as in chat:lobby")
        super().add_arguments(parser)

    def act(self, **options: Any) -> Acknowledged:
        return subscribe(options["user"], options["channel"], client=options["client"], within=options["within"])
