"""`manage.py unsubscribe CHANNEL [--user USER] [--client ID]`: end subscriptions from a shell."""

from argparse import ArgumentParser
from typing import Any

from flotilla.command_line import whole_number
from flotilla.realtime.api.control import unsubscribe
from flotilla.realtime.management.commands._control import ControlCommand
from flotilla.realtime.node.control import Acknowledged
from flotilla.realtime.protocol.codes import UnsubscribeCode


class Command(ControlCommand):
    """End subscriptions everywhere."""

    help = "End subscriptions to a channel everywhere: a user's, one connection's, or everybody's."
    done = "{} subscriptions ended"
    about_channels = False
    examples = (
        ("chat:lobby --user ann", "a user's subscriptions to a channel"),
        ("chat:lobby --code 2500", "everybody's; clients subscribe again and are asked again"),
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("channel", help="the channel, as in chat:lobby")
        super().add_arguments(parser)
        code = int(UnsubscribeCode.SERVER)
        codes = whole_number(2000, 2999)
        parser.add_argument("--code", type=codes, default=code, help="2000 to 2999; from 2500 on clients come back")
        parser.add_argument("--reason", default="", help="what the client is told")

    def act(self, **options: Any) -> Acknowledged:
        return unsubscribe(
            options["user"],
            options["channel"],
            client=options["client"],
            code=options["code"],
            reason=options["reason"],
            within=options["within"],
        )
