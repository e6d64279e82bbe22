"""`manage.py relay [--database ALIAS] [--once]`: send what outboxes hold, beside the serving processes or instead."""

import signal
import threading
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.db import DatabaseError, InterfaceError

from flotilla.command_line import MEANINGS, Status, away, misused
from flotilla.realtime.management.commands._shell import ClusterCommand
from flotilla.realtime.outbox.backlog import databases, why_not_relayed
from flotilla.realtime.outbox.relay import Relay
from flotilla.realtime.outbox.relays import Relays
from flotilla.realtime.outbox.stats import stats_of
from flotilla.store import get_store

END_WITHIN = 10.0  # seconds the last batch may take
ONCE_WITHIN = 3.0  # seconds that are tried for with --once, while something cannot be sent


class Command(ClusterCommand):
    """Relays, like a serving process does."""

    help = (
        "Send durable publications from the outbox to Redis. Serving processes do so by themselves, one at a time: "
        "this is for installations where they may not (the option relay), or where a relay of its own is wanted."
    )
    examples = (
        ("", "relay until Ctrl-C or SIGTERM; several of them wait for each other"),
        ("--once", "send what waits now, and end"),
        ("--once --database default", "the same of one database alone"),
    )
    statuses = {
        Status.NOT_DONE: "with --once: something still waits, as when another relay is at work",
        Status.AWAY: MEANINGS[Status.AWAY],
    }
    shape = {"databases": ("database", "sent", "resent", "repeats", "set_aside", "done")}

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--database", default="", help="the alias of a database [all that may have an outbox]")
        parser.add_argument("--once", action="store_true", help="end when nothing waits any more")

    def handle(self, *args: Any, **options: Any) -> None:
        aliases, asked = databases(), options["database"]
        if asked and asked not in aliases:
            raise misused(f"--database: {asked!r} is none of those that may have an outbox: {', '.join(aliases)}.")
        aliases = [asked] if asked else [alias for alias in aliases if _can_relay(alias)]
        if not aliases:
            raise CommandError("No database that takes writes has an outbox: run `manage.py migrate`.")
        found = [self._once(alias) for alias in aliases] if options["once"] else self._for_ever(aliases)
        if options["as_json"]:
            self.tell({"databases": found})
        else:
            for row in found:
                self.stdout.write("{database}: {sent} sent, {resent} sent again, {set_aside} set aside".format(**row))
        waiting = [str(row["database"]) for row in found if not row["done"]]
        if waiting:
            raise CommandError(f"Something still waits in {', '.join(waiting)}.")

    def _once(self, alias: str) -> dict[str, Any]:
        try:
            done = Relay(alias, get_store()).once(ONCE_WITHIN)
        except (DatabaseError, InterfaceError) as error:
            raise _away(alias, error) from error
        if not done and (waits_for := stats_of(alias).waits_for):
            raise away(f"{waits_for} does not answer: what waits in {alias} is still there.")
        return _facts(alias, done=done)

    def _for_ever(self, aliases: list[str]) -> list[dict[str, Any]]:
        told = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: told.set())
        relays = Relays(get_store())
        relays.start(aliases)
        try:
            told.wait()
        except KeyboardInterrupt:
            self.stderr.write("ending")
        found = [_facts(alias, done=True) for alias in aliases]
        relays.close(END_WITHIN)
        return found


def _can_relay(alias: str) -> bool:
    try:
        return not why_not_relayed(alias)
    except (DatabaseError, InterfaceError) as error:
        raise _away(alias, error) from error


def _away(alias: str, error: Exception) -> CommandError:
    return away(f"The database {alias} does not answer, or has no outbox: {str(error).strip()}")


def _facts(alias: str, *, done: bool) -> dict[str, Any]:
    stats = stats_of(alias)
    counts = {name: getattr(stats, name) for name in ("sent", "resent", "repeats", "set_aside")}
    return {"database": alias, **counts, "done": done}
