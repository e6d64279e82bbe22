"""`manage.py channels [TEXT]`: channels that have subscribers, over all instances."""

from argparse import ArgumentParser
from typing import Any

from flotilla.realtime.api.inspection import channels
from flotilla.realtime.management.commands._control import add_within
from flotilla.realtime.management.commands._look import Listing, LookCommand, of_instances
from flotilla.realtime.management.commands._table import clock


class Command(LookCommand):
    """Show channels."""

    help = "Show channels that have subscribers, over all instances; a whole name also finds one without."
    rows_are = "channels"
    examples = (
        ("'chat:*'", "by a pattern"),
        ("chat:lobby --json", "one, also without subscribers, for a program"),
    )
    shape = {
        "total": (),
        "answered": (),
        "instances": (),
        "channels": (
            *("channel", "subscribers", "published_at", "per_second", "present", "users"),
            *("history", "epoch", "top", "stored"),
        ),
        "next": (),
    }
    columns = (
        ("CHANNEL", lambda row: row["channel"]),
        ("SUBSCRIBERS", lambda row: row["subscribers"]),
        ("USERS", lambda row: "-" if row["users"] is None else row["users"]),
        ("TOP", lambda row: row["top"] if row["history"] else "-"),
        ("STORED", lambda row: row["stored"] if row["history"] else "-"),
        ("LAST PUBLICATION", lambda row: clock(row["published_at"])),
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "text", nargs="?", default="", help="only those whose name begins so, or a pattern, as in 'chat:*:news'"
        )
        add_within(parser)
        super().add_arguments(parser)

    def look(self, **options: Any) -> Listing:
        page = channels(text=options["text"], after=options["after"], limit=options["limit"], within=options["within"])
        return of_instances(page, "channel", "channels")
