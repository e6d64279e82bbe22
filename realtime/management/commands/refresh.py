"""`manage.py refresh --user USER | --client ID`: set when open connections end, from a shell."""

import time
from argparse import ArgumentParser
from typing import Any

from flotilla.command_line import seconds
from flotilla.realtime.api.control import refresh
from flotilla.realtime.management.commands._control import ControlCommand
from flotilla.realtime.node.control import Acknowledged
from flotilla.realtime.protocol.replies import MAX_TTL


class Command(ControlCommand):
    """Set when open connections end."""

    help = "Set when the open connections of a user end: in some seconds, never, or now."
    done = "{} connections refreshed"
    about_channels = False
    examples = (
        ("--user ann --expired", "they come back and prove who they are"),
        ("--user ann --ttl 600", "they end in ten minutes"),
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        when = parser.add_mutually_exclusive_group()
        ttl = seconds(0, MAX_TTL)
        when.add_argument("--ttl", type=ttl, help="seconds from now (without it: they never end by themselves)")
        when.add_argument("--expired", action="store_true", help="now: clients come back and prove who they are")

    def act(self, **options: Any) -> Acknowledged:
        expire_at = None if options["ttl"] is None else time.time() + options["ttl"]
        return refresh(
            options["user"],
            client=options["client"],
            expire_at=expire_at,
            expired=options["expired"],
            within=options["within"],
        )
