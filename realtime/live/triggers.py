"""Triggers in a PostgreSQL database: which are there, which should be, and how one becomes the other.

All of ours are functions whose names begin alike, each with its triggers. One that says something else than it should
is made anew; one that no live model needs any more is removed. A change of them is one transaction.
"""

from collections.abc import Iterable
from typing import NamedTuple

from django.db import connections, router, transaction

from flotilla.realtime.conf import get_config
from flotilla.realtime.live.model import LiveModel
from flotilla.realtime.live.registry import all_sound
from flotilla.realtime.live.trigger_sql import NoTriggers, Trigger, triggers_of
from flotilla.realtime.live.written import TRIGGER, forget_tables

_THERE = """SELECT p.proname, p.prosrc, array_agg(t.tgname::text) FILTER (WHERE t.tgname IS NOT NULL)
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
LEFT JOIN pg_trigger t ON t.tgfoid = p.oid
WHERE n.nspname = current_schema() AND p.proname LIKE %s GROUP BY p.oid, p.proname, p.prosrc"""


class Plan(NamedTuple):
    """What is to be done in a database."""

    wanted: dict[str, Trigger]
    make: list[Trigger]
    remove: list[str]
    refused: list[str]
    """Why live models have none."""

    @property
    def done(self) -> bool:
        """Whether all is as it should be."""
        return not self.make and not self.remove

    def statements(self) -> list[str]:
        """The SQL of it."""
        drop = [f"DROP FUNCTION {name}() CASCADE" for name in self.remove]
        return drop + [statement for trigger in self.make for statement in trigger.statements()]


def plan(using: str, *, without: bool = False) -> Plan:
    """What makes a database's triggers those of its live models, or (`without`) removes them all."""
    wanted: dict[str, Trigger] = {}
    refused: list[str] = []
    tables = set(connections[using].introspection.table_names())
    for live in () if without else _live_in(using):
        if (table := live.model._meta.db_table) not in tables:
            refused.append(
                f"{live.label}: there is no table {table} in the database {using}; run `manage.py migrate` first"
            )
            continue
        try:
            wanted |= {trigger.name: trigger for trigger in triggers_of(live, get_config().live_bulk_max)}
        except NoTriggers as error:
            refused.append(str(error))
    there = _there(using)
    wrong = [name for name, (body, names) in there.items() if not _is(wanted.get(name), body, names)]
    make = [trigger for name, trigger in wanted.items() if name not in there or name in wrong]
    return Plan(wanted, make, sorted(wrong), refused)


def carry_out(planned: Plan, using: str) -> None:
    """Do what is planned, in one transaction."""
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        for statement in planned.statements():
            cursor.execute(statement)
    forget_tables(connections[using])


def _live_in(using: str) -> Iterable[LiveModel]:
    return (one for one in all_sound() if one.triggers and router.allow_migrate_model(using, one.model))


def _there(using: str) -> dict[str, tuple[str, list[str]]]:
    with connections[using].cursor() as cursor:
        cursor.execute(_THERE, [f"{TRIGGER.replace('_', chr(92) + '_')}%"])
        return {name: (body, names or []) for name, body, names in cursor.fetchall()}


def _is(wanted: Trigger | None, body: str, names: list[str]) -> bool:
    if wanted is None or body != wanted.body:
        return False
    return sorted(names) == sorted(f"{wanted.name}_{event.lower()}" for event in wanted.events)
