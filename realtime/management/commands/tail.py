"""`manage.py tail CHANNEL`: what is published into a channel from now on, until Ctrl-C or a number of publications;
with `--user` or `--client` what happens to a user or a connection."""

from argparse import ArgumentParser
from contextlib import closing
from itertools import chain, islice
from typing import Any

from django.core.management.base import CommandError

from flotilla.command_line import whole_number
from flotilla.realtime.api.publishing import broker, options_of
from flotilla.realtime.api.tails import About
from flotilla.realtime.engine.listener import Heard, Listener
from flotilla.realtime.management.commands._publications import author, payload_text, row_of
from flotilla.realtime.management.commands._shell import ClusterCommand, add_user, asked_user, told
from flotilla.realtime.management.commands._table import clock, printable
from flotilla.realtime.management.commands._tails import events, shown, told_of
from flotilla.store import get_store

MAX_LAST = 1000  # publications of the past
MAX_BYTES = 10_000_000  # of them


class Command(ClusterCommand):
    """Follow a channel."""

    help = (
        "Show what is published into a channel, as it comes, until Ctrl-C. Ends with status 3 when the connection to "
        "Redis is lost, because something may be missing then. With --user or --client: what they ask, are answered "
        "and are given, over all instances, for ten minutes at most."
    )
    examples = (
        ("chat:lobby", "until Ctrl-C"),
        ("chat:lobby --last 10 --count 10", "the last ten that history keeps, and no more"),
    )
    lines = True
    shape = {
        **dict.fromkeys(("channel", "epoch", "published_at"), ()),
        **dict.fromkeys(("offset", "data", "info", "tags", "error"), ()),
        **dict.fromkeys(("at", "kind", "text", "user", "client", "instance", "size"), ()),
    }

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("channel", nargs="?", default="", help="the channel, as in chat:lobby")
        add_user(parser)
        parser.add_argument("--client", default="", help="one connection, by its id")
        parser.add_argument("--payloads", action="store_true", help="of a user or a connection: show payloads")
        parser.add_argument("--count", type=whole_number(1, 10**9 - 1), help="end after so many publications")
        parser.add_argument(
            "--last",
            type=whole_number(0, MAX_LAST),
            default=0,
            help=f"begin with so many of those that history keeps, 0 to {MAX_LAST} (%(default)s)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        user = asked_user(options)
        if sum(map(bool, (options["channel"], user, options["client"]))) != 1:
            raise CommandError("Say what to follow: a channel, --user or --client, one of them.")
        try:
            if options["channel"]:
                told(lambda: self._follow(**options), f"Cannot follow {options['channel']!r}")
            else:
                about: tuple[About, str] = ("user", user.id) if user is not None else ("client", options["client"])
                told(lambda: self._watch(*about, **options), f"Cannot follow {about[1]!r}")
        except KeyboardInterrupt:
            self.stderr.write("")  # behind the terminal's ^C

    def _follow(self, *, channel: str, count: int | None, last: int, as_json: bool, **_: Any) -> None:
        kept = options_of(channel)
        with Listener(get_store(), channel) as listener:
            past: list[Heard] = []
            if last and kept.has_history:
                page = broker().history_sync(channel, kept, limit=last, reverse=True, max_bytes=MAX_BYTES)
                past = [Heard(one, page.top.epoch, 0.0) for one in reversed(page.publications)]
            top = past[-1] if past else None
            new = (heard for heard in listener if not _known(heard, top))
            for heard in islice(chain(past, new), count):
                self._show(channel, heard, as_json)

    def _watch(self, about: About, name: str, *, count: int | None, payloads: bool, as_json: bool, **_: Any) -> None:
        with closing(events(about, name, payloads)) as seen:
            for event in islice(seen, count):
                if as_json:
                    self.tell(told_of(event))
                else:
                    self.stdout.write(shown(event))
                self.stdout.flush()

    def _show(self, channel: str, heard: Heard, as_json: bool) -> None:
        row = row_of(heard.publication)
        if as_json:
            self.tell({"channel": channel, "epoch": heard.epoch, "published_at": heard.at or None, **row})
        else:
            offset = row["offset"] or "-"
            self.stdout.write(f"{clock(heard.at)}  {offset}  {printable(author(row))}  {printable(payload_text(row))}")
        self.stdout.flush()


def _known(heard: Heard, top: Heard | None) -> bool:
    """Whether history had it already."""
    if top is None or heard.epoch != top.epoch or not heard.publication.offset:
        return False
    return heard.publication.offset <= top.publication.offset
