"""`manage.py block --user USER | --address ADDRESS --seconds N`: keep somebody out for a time, from a shell."""

from argparse import ArgumentParser
from typing import Any

from flotilla.command_line import seconds
from flotilla.realtime.api.blocks import block
from flotilla.realtime.blocks import blocklist
from flotilla.realtime.management.commands._control import ControlCommand, add_within
from flotilla.realtime.management.commands._shell import add_user
from flotilla.realtime.node.control import Acknowledged


class Command(ControlCommand):
    """Block a user or an address."""

    help = "Keep a user or an address out for some seconds, and end their open connections."
    done = "blocked, {} connections ended"
    examples = (
        ("--user ann --seconds 3600 --note spam", "an hour for a user, wherever she connects from"),
        ("--address 192.0.2.7 --seconds 600", "ten minutes for an address"),
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_user(parser)
        parser.add_argument("--address", default="", help="an IP address; an IPv6 address counts as its /64")
        lasts = seconds(0.1, blocklist.MAX_SECONDS)
        parser.add_argument("--seconds", type=lasts, required=True, help="for how long")
        parser.add_argument("--note", default="", help="the reason, shown in the admin")
        add_within(parser)

    def act(self, **options: Any) -> Acknowledged:
        return block(
            options["user"],
            address=options["address"],
            seconds=options["seconds"],
            note=options["note"],
            by="a shell",
            within=options["within"],
        )
