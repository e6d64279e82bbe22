"""`manage.py changes [--since 2h]`: what has changed lately, the newest first.

From the cluster's journal: starts of instances with the settings and packages that were not as at the start before,
ends, and what people did from a shell. Beside it: what staff did in the admin, migrations, and restarts of Redis.
"""

import re
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from django.apps import apps
from django.db import DatabaseError, connection
from django.db.migrations.recorder import MigrationRecorder

from flotilla.command_line import whole_number
from flotilla.presence.leases import alive_sync
from flotilla.realtime.command_names import is_ours
from flotilla.realtime.management.commands._diagnosis import ago
from flotilla.realtime.management.commands._shell import ClusterCommand, told
from flotilla.realtime.management.commands._table import clock, printable
from flotilla.realtime.node import journal
from flotilla.store import get_store
from flotilla.store.nodes import servers_of_sync

UNITS = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86_400}
Row = dict[str, Any]


class Command(ClusterCommand):
    """Show what has changed."""

    help = (
        "Show what has changed lately: starts and ends of instances, their settings and packages, what people did in "
        "shells and in the admin, migrations, restarts of Redis."
    )
    examples = (("", "in the last day"), ("--since 30min", "in the last half hour"), ("--since 7d --json", "in a week"))
    shape = {"since": (), "changes": ("at", "kind", "what", "by", "instance", "incarnation", "details")}

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--since", type=_since, default=86_400.0, help="how far back: 30min, 2h, 7d [1d]")
        parser.add_argument(
            "--limit", type=whole_number(1, 500), default=50, help="most changes, 1 to 500 (%(default)s)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        since = time.time() - options["since"]
        rows = told(lambda: [*_journal(since), *_redis(since)])
        try:
            rows += [*_admin(since), *_migrations(since)]
        except DatabaseError as error:
            self.stderr.write(f"What the admin and migrations did is missing: {str(error).partition(chr(10))[0]}")
        rows = sorted(rows, key=lambda row: float(row["at"]), reverse=True)[: options["limit"]]
        if options["as_json"]:
            self.tell({"since": since, "changes": rows})
            return
        for row in rows:
            by = f" by {printable(row['by'])}" if row["by"] else ""
            self.stdout.write(f"{clock(row['at'])}  ({ago(time.time() - row['at'])} ago)  {printable(row['what'])}{by}")
            for text in row["details"]:
                self.stdout.write(f"    {printable(text)}")
        if not rows:
            self.stdout.write("nothing")


def _row(at: float, kind: str, what: str, **more: Any) -> Row:
    return {"at": at, "kind": kind, "what": what, "by": "", "instance": "", "incarnation": "", "details": [], **more}


def _journal(since: float) -> Iterator[Row]:
    store = get_store()
    entries = journal.recent(store, since, journal.KEEPS)
    over = {one.get("incarnation") for one in entries if one["kind"] == "end"}
    over |= {about["incarnation"] for about in alive_sync(store)}
    for one in entries:
        name, incarnation = one.get("instance", ""), one.get("incarnation", "")
        about = {"instance": name, "incarnation": incarnation}
        kind, at = one["kind"], one["at"]
        if kind == "start":
            changed = one.get("changed", [])
            told = "" if changed else ", nothing else than before"
            what = f"{name} started on {one.get('host', '?')}, release {one.get('version', '?')}{told}"
            yield _row(at, kind, what, details=changed, **about)
            if incarnation not in over:
                yield _row(
                    at, "lost", f"{name}, which started then, is gone and did not say so: crashed or cut off", **about
                )
        elif kind == "end":
            yield _row(at, kind, f"{name} ended in order", **about)
        elif kind == "fenced":
            what = (
                f"{name} was taken for dead, as it was paused or cut off: {one.get('clients', '?')} clients reconnected"
            )
            yield _row(at, "lost", what, **about)
        elif kind == "act":
            yield _row(at, kind, f"{one.get('what', '?')} ({one.get('hit', '?')} hit)", by=one.get("by", ""))


def _redis(since: float) -> Iterator[Row]:
    """Runs of Redis that began since."""
    for name, shard in servers_of_sync(get_store().shards):
        found = re.search(rb"uptime_in_seconds:(\d+)", shard.execute_sync("INFO", "server"))
        began = time.time() - int(found[1]) if found else 0.0
        if began > since:
            yield _row(began, "redis", f"Redis {name} was started")


def _admin(since: float) -> Iterator[Row]:
    """What staff did with our pages."""
    if not apps.is_installed("django.contrib.admin"):
        return
    from django.contrib.admin.models import LogEntry

    ours = [app.label for app in apps.get_app_configs() if is_ours(app)]
    found = LogEntry.objects.filter(
        action_time__gt=datetime.fromtimestamp(since, UTC), content_type__app_label__in=ours
    ).select_related("user")
    for entry in found.order_by("-action_time")[:500]:
        yield _row(
            entry.action_time.timestamp(), "admin", f"admin: {str(entry).rstrip('.')}", by=entry.user.get_username()
        )


def _migrations(since: float) -> Iterator[Row]:
    recorder = MigrationRecorder(connection)
    if not recorder.has_table():
        return
    lately = recorder.migration_qs.filter(applied__gt=datetime.fromtimestamp(since, UTC))
    by_app: dict[str, list[Any]] = {}
    for one in lately.order_by("-applied")[:500]:
        by_app.setdefault(one.app, []).append(one)
    for app, applied in by_app.items():
        yield _row(
            applied[0].applied.timestamp(), "migration", f"migrations of {app}", details=[one.name for one in applied]
        )


def _since(text: str) -> float:
    found = re.fullmatch(r"(\d{1,6})\s*(s|min|m|h|d)", text.strip())
    if found is None:
        raise ArgumentTypeError(f"{text!r} is no time: write 30min, 2h or 7d")
    return float(found[1]) * UNITS[found[2]]
