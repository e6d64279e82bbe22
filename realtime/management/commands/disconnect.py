"""`manage.py disconnect --user USER | --client ID | --channel NAME`: end connections from a shell."""

from argparse import ArgumentParser
from typing import Any

from flotilla.command_line import whole_number
from flotilla.realtime.api.control import disconnect
from flotilla.realtime.management.commands._control import ControlCommand
from flotilla.realtime.node.control import Acknowledged
from flotilla.realtime.protocol.codes import DisconnectCode


class Command(ControlCommand):
    """End connections everywhere."""

    help = "End connections everywhere: a user's, one, or those in a channel."
    done = "{} connections ended"
    examples = (
        ("--user ann --reason 'please log in again'", "all connections of a user"),
        ("--channel chat:lobby --code 3000", "those in a channel; from 3000 to 3499 clients come back"),
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        code = int(DisconnectCode.FORCE_DISCONNECT)
        codes = whole_number(3000, 4999)
        parser.add_argument("--code", type=codes, default=code, help="3000 to 4999 (%(default)s: do not come back)")
        parser.add_argument("--reason", default="", help="what the client is told")

    def act(self, **options: Any) -> Acknowledged:
        return disconnect(
            options["user"],
            client=options["client"],
            channel=options["channel"],
            code=options["code"],
            reason=options["reason"],
            within=options["within"],
        )
