"""`manage.py history CHANNEL`: what a channel keeps, the newest publication first."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from flotilla.command_line import misused
from flotilla.realtime.api.publishing import broker, options_of
from flotilla.realtime.management.commands._look import Listing, LookCommand
from flotilla.realtime.management.commands._publications import author, payload_text, row_of

MAX_BYTES = 10_000_000  # of the publications of a page


class Command(LookCommand):
    """Show the publications of a channel."""

    help = "Show the publications that a channel keeps, the newest first."
    rows_are = "publications"
    examples = (
        ("chat:lobby --limit 5", "the newest five"),
        ("chat:lobby --oldest --after 120", "from offset 121 on"),
    )
    shape = {
        "channel": (),
        "epoch": (),
        "offset": (),
        "publications": ("offset", "data", "info", "tags", "error"),
        "next": (),
    }
    columns = (
        ("OFFSET", lambda row: row["offset"]),
        ("FROM", author),
        ("DATA", payload_text),
    )
    limit = 20
    max_limit = 1000

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("channel", help="the channel, as in chat:lobby")
        parser.add_argument("--oldest", action="store_true", help="the oldest first")
        super().add_arguments(parser)

    def look(self, **options: Any) -> Listing:
        name, limit, after = options["channel"], options["limit"], _offset(options["after"])
        kept = options_of(name)
        if not kept.has_history:
            raise CommandError(f"{name} keeps no history: set history_size and history_ttl in its namespace.")
        page = broker().history_sync(
            name, kept, limit=limit + 1, since=after, reverse=not options["oldest"], max_bytes=MAX_BYTES
        )
        rows = [row_of(one) for one in page.publications[:limit]]
        more = rows and (page.overflow or len(page.publications) > limit)
        top = page.top
        about = {"channel": name, "epoch": top.epoch, "offset": top.offset}
        summary = f"top offset {top.offset} of epoch {top.epoch or '-'} in {name}"
        return Listing(rows, about, summary, str(rows[-1]["offset"]) if more else "")


def _offset(after: str) -> int | None:
    if not after:
        return None
    if not (after.isascii() and after.isdigit() and int(after) < 2**63):
        raise misused(f"--after {after!r} is no cursor of this command: it is an offset.")
    return int(after)
