"""`manage.py received USER [CHANNEL]`: what a user's connections have been given of each of their channels.

Exit status 0: everything there is. 1: something is still to be given, or the user has no connection.
"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from flotilla.command_line import Status, whole_number
from flotilla.natural_names import NamedUser
from flotilla.realtime.api.diagnosis import deliveries
from flotilla.realtime.api.inspection import channel_states
from flotilla.realtime.api.publishing import broker, options_of
from flotilla.realtime.management.commands._diagnosis import DiagnosisCommand, bytes_shown
from flotilla.realtime.management.commands._publications import author, payload_text, row_of
from flotilla.realtime.management.commands._shell import ClusterCommand, known_user, of_user, told
from flotilla.realtime.management.commands._table import clock
from flotilla.realtime.node.operations.deliveries import MOST

MAX_BYTES = 1_000_000  # of the publications that are shown
LITTLE = 65_536  # bytes that are on their way to everybody now and then


class Command(DiagnosisCommand):
    """Show what a user was given."""

    help = (
        "Show up to which offset each connection of a user has been given its channels, what is still to come, and how "
        "much the client has not taken yet; with a channel, the newest publications and whether they were given. "
        "Payloads are shown only with --payloads."
    )
    examples = (
        ("ann", "every channel of her connections"),
        ("ann chat:lobby --last 5", "which of the last five in a channel she was given"),
    )
    statuses = {
        **ClusterCommand.statuses,
        Status.NOT_DONE: "something is still to be given, an instance is silent, or the user has no connection",
    }
    shape = {
        "user": (),
        "username": (),
        "answered": (),
        "instances": (),
        "subscriptions": (
            *("client", "instance", "since", "channel", "way", "history", "epoch", "offset", "top", "missing"),
            "waiting",
        ),
        "publications": ("offset", "data", "info", "tags", "error", "given_to"),
    }

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user", help='the user\'s name or primary key, or id: and any id; "" are visitors')
        parser.add_argument("channel", nargs="?", default="", help="one channel, and its newest publications")
        parser.add_argument(
            "--last", type=whole_number(1, 100), default=10, help="how many publications, 1 to 100 (%(default)s)"
        )
        parser.add_argument("--payloads", action="store_true", help="show what they say, too")
        super().add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        user = known_user(options["user"]) if options["user"] else NamedUser("")
        channel = options["channel"]
        asked = told(lambda: deliveries(user.id, channel=channel, limit=MOST, within=options["within"]))
        rows = told(lambda: _with_tops([row for answer in asked.answers.values() for row in answer]))
        newest = told(lambda: self._newest(rows, options)) if channel else []
        if options["as_json"]:
            self.tell({**of_user(user), **asked.counts, "subscriptions": rows, "publications": newest})
        else:
            self.stdout.write(f"user: {user}")
            self._show(rows, newest, payloads=options["payloads"])
        self.judge_silence(asked)
        if not rows:
            where = f" in {channel}" if channel else ""
            raise CommandError(f"{user} has no open connection{where}: whoever comes back is given what history keeps.")
        late = [row for row in rows if row["missing"] or row["way"] != "live"]
        if late:
            raise CommandError(f"{len(late)} of {len(rows)} subscriptions have not been given everything.")

    def _newest(self, rows: list[dict[str, Any]], options: dict[str, Any]) -> list[dict[str, Any]]:
        """The newest that history keeps, each with the connections that were given it."""
        name, kept = options["channel"], options_of(options["channel"])
        if not kept.has_history:
            return []
        page = broker().history_sync(name, kept, limit=options["last"], reverse=True, max_bytes=MAX_BYTES)
        found = [row_of(one) for one in page.publications]
        for one in found:
            if not options["payloads"]:
                one["data"] = None
            one["given_to"] = [row["client"] for row in rows if row["offset"] >= one["offset"]]
        return found

    def _show(self, rows: list[dict[str, Any]], newest: list[dict[str, Any]], *, payloads: bool) -> None:
        self.show(
            ("CONNECTION", "INSTANCE", "SINCE", "CHANNEL", "GIVEN", "UP TO", "OF", "NOT TAKEN"),
            [
                (
                    *(row["client"], row["instance"], clock(row["since"]), row["channel"], row["way"]),
                    *((row["offset"], row["top"]) if row["history"] else ("-", "-")),
                    bytes_shown(row["waiting"]) if row["waiting"] > LITTLE else "-",
                )
                for row in rows
            ],
        )
        if newest:
            heads = ("OFFSET", "FROM", "GIVEN TO", *(["DATA"] if payloads else []))
            self.show(
                heads,
                [
                    (
                        *(one["offset"], author(one), f"{len(one['given_to'])} of {len(rows)}"),
                        *([payload_text(one)] if payloads else []),
                    )
                    for one in newest
                ],
            )


def _with_tops(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With the top that Redis has, and how many publications are missing up to there."""
    names = sorted({row["channel"] for row in rows if row["history"]})
    tops = {state["channel"]: state for state in map(_named, names, channel_states(names))} if names else {}
    for row in rows:
        state, newest = tops.get(row["channel"]), row.pop("newest")
        top = max(newest, state["top"]) if state is not None and state["epoch"] == row["epoch"] else newest
        row |= {"top": top, "missing": max(0, top - row["offset"]) if row["history"] else 0}
    return sorted(rows, key=lambda row: (row["client"], row["channel"]))


def _named(name: str, state: dict[str, Any]) -> dict[str, Any]:
    return state | {"channel": name}
