"""`manage.py outbox`: what durable publications wait in the databases, and what is done about those set aside.

It asks the databases alone; Redis, where it does not answer, misses no more than the journal's entry.
"""

from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError
from django.db import DatabaseError

from flotilla.command_line import MEANINGS, OurCommand, Status, away, misused, whole_number
from flotilla.realtime.api import outbox
from flotilla.realtime.api.inspection import Page
from flotilla.realtime.api.outbox import ROW, SET_ASIDE, STATES
from flotilla.realtime.management.commands._control import leave_in_journal
from flotilla.realtime.management.commands._diagnosis import ago
from flotilla.realtime.management.commands._table import clock, printable, shortened, table
from flotilla.realtime.outbox.backlog import MOST, backlog, databases

ALL = "all"
MAX = 100  # rows of a page
ANY = "any"


class Command(OurCommand):
    """Look at the outbox, and act on what was set aside."""

    help = "Show what durable publications wait in the outbox and what was set aside; try that again, or drop it."
    examples = (
        ("", "how much waits, since when, and what was set aside"),
        ("--state waiting --channel chat:lobby", "what waits for a channel, in the order in which it will be sent"),
        ("--retry default:17", "one that was set aside; `all` for all of them"),
        ("--drop default:17", "give one up"),
        ("--json", "the same for a program"),
    )
    statuses = {
        Status.NOT_DONE: "there is no such row among those set aside, or no database has an outbox",
        Status.AWAY: MEANINGS[Status.AWAY],
    }
    shape = {
        "databases": ("database", "waiting", "oldest", "set_aside"),
        "rows": ROW,
        "next": (),
        "retried": (),
        "dropped": (),
    }

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--database", default="", metavar="ALIAS", help="of this database alone")
        parser.add_argument(
            "--state", default=SET_ASIDE, choices=(*STATES, ANY), help="rows in this state (%(default)s)"
        )
        parser.add_argument("--channel", default="", help="rows of this channel, by its whole name")
        parser.add_argument(
            "--limit", type=whole_number(1, MAX), default=50, help=f"most rows, 1 to {MAX} (%(default)s)"
        )
        parser.add_argument("--after", default="", metavar="CURSOR", help="go on where an earlier page ended")
        acts = parser.add_mutually_exclusive_group()
        acts.add_argument("--retry", default="", metavar="ROW", help="try a row that was set aside again, or `all`")
        acts.add_argument("--drop", default="", metavar="ROW", help="delete a row that was set aside")

    def handle(self, *args: Any, **options: Any) -> None:
        asked = _asked(options["database"])
        try:
            if options["retry"] or options["drop"]:
                self._act(options, asked)
            else:
                self._look(options, asked)
        except DatabaseError as error:
            why = str(error).partition("\n")[0]
            raise away(f"The database does not answer: {why}. Was it migrated (`manage.py migrate`)?") from None

    def _look(self, options: dict[str, Any], asked: list[str]) -> None:
        counts = [{"database": using, **asdict(backlog(using))} for using in asked]
        state = "" if options["state"] == ANY else options["state"]
        page = outbox.rows(
            asked[0], state=state, channel=options["channel"], after=options["after"], limit=options["limit"]
        )
        if options["as_json"]:
            self.tell({"databases": counts, "rows": page.rows, "next": page.next})
            return
        cells = [[one["database"], _most(one["waiting"]), _age(one), _most(one["set_aside"])] for one in counts]
        for line in table(("DATABASE", "WAITING", "OLDEST", "SET ASIDE"), cells):
            self.stdout.write(line)
        for line in _listed(page):
            self.stdout.write(line)

    def _act(self, options: dict[str, Any], asked: list[str]) -> None:
        if options["retry"] == ALL:
            hit = sum(outbox.retry_all(using) for using in asked)
        else:
            try:
                using, pk = outbox.row_named(options["retry"] or options["drop"])
            except ValueError as error:
                raise misused(f"{str(error)[:1].upper()}{str(error)[1:]}.") from None
            hit = int((outbox.retry if options["retry"] else outbox.drop)(using, pk))
        name, done = ("retry", "tried again") if options["retry"] else ("drop", "dropped")
        if hit:
            leave_in_journal(self, f"outbox --{name} {options[name]}", hit)
        if options["as_json"]:
            self.tell({"retried": hit if options["retry"] else None, "dropped": hit if options["drop"] else None})
        elif hit:
            self.stdout.write(self.style.SUCCESS(f"{hit} {done}"))
        if not hit and options["retry"] != ALL:
            raise CommandError(f"{options[name]} is none of the rows that were set aside.")
        if not hit and not options["as_json"]:
            self.stdout.write("nothing was set aside")


def _asked(name: str) -> list[str]:
    """The databases that are meant."""
    known = databases()
    if not known:
        raise CommandError("No database of this project may have the outbox: its routers do not allow it.")
    if name and name not in known:
        raise misused(f"There is no database {name!r} with an outbox; there is {', '.join(known)}.")
    return [name] if name else known


def _most(number: int) -> str:
    """A count, which ends at MOST."""
    return f"{number} or more" if number >= MOST else str(number)


def _age(one: dict[str, Any]) -> str:
    return ago(one["oldest"]) if one["waiting"] else "-"


def _listed(page: Page) -> Iterator[str]:
    if not page.rows:
        return
    heads = ("ROW", "CHANNEL", "STATE", "WRITTEN", "ATTEMPTS", "ERROR")
    cells = [
        [row["row"], row["channel"], row["state"], clock(row["written_at"]), row["attempts"], shortened(row["error"])]
        for row in page.rows
    ]
    yield ""
    yield from table(heads, cells)
    if page.next:
        yield f"more: --after {printable(page.next)}"
