"""`manage.py connections [--user USER] [--channel NAME] [--text TEXT]`: who is connected, over all instances."""

from argparse import ArgumentParser
from typing import Any

from flotilla.realtime.api.inspection import connections
from flotilla.realtime.management.commands._control import add_within
from flotilla.realtime.management.commands._look import Listing, LookCommand, of_instances, person
from flotilla.realtime.management.commands._shell import add_user, asked_user, of_user
from flotilla.realtime.management.commands._table import clock


class Command(LookCommand):
    """Show connections."""

    help = "Show who is connected, over all instances: everybody, a user, those in a channel."
    rows_are = "connections"
    examples = (
        ("--user ann", "one user's"),
        ("--channel chat:lobby --limit 10", "the first ten of those in a channel"),
    )
    shape = {
        "user": (),
        "username": (),
        "total": (),
        "answered": (),
        "instances": (),
        "connections": (
            *("client", "user", "username", "via", "address", "name", "instance", "since"),
            *("channels", "num_channels", "waiting", "commands", "sdk", "transport"),
        ),
        "next": (),
    }
    columns = (
        ("CONNECTION", lambda row: row["client"]),
        ("USER", person),
        ("ADDRESS", lambda row: row["address"]),
        ("INSTANCE", lambda row: row["instance"]),
        ("SINCE", lambda row: clock(row["since"])),
        ("CHANNELS", lambda row: _channels(row)),
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_user(parser)
        parser.add_argument("--channel", default="", help="only those in a channel")
        parser.add_argument("--client", default="", help="one connection, by its id")
        parser.add_argument(
            "--text",
            default="",
            help="only those whose user id, address or id begins so, or whose client's name has it",
        )
        add_within(parser)
        super().add_arguments(parser)

    def look(self, **options: Any) -> Listing:
        user = asked_user(options)
        page = connections(
            user.id if user is not None else None,
            channel=options["channel"],
            client=options["client"],
            text=options["text"],
            after=options["after"],
            limit=options["limit"],
            within=options["within"],
        )
        found = of_instances(page, "connection", "connections")
        if user is not None:
            found.about |= of_user(user)
            found.summary = f"{user}: {found.summary}"
        return found


def _channels(row: dict[str, Any]) -> str:
    more = row["num_channels"] - len(row["channels"])
    return " ".join([*row["channels"], *([f"… {more} more"] if more > 0 else [])]) or "-"
