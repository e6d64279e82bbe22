"""`manage.py live_triggers [--database ALIAS] [--check | --sql | --remove]`: changes that come past Django are seen."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.db import DEFAULT_DB_ALIAS, DatabaseError, InterfaceError, connections

from flotilla.command_line import MEANINGS, OurCommand, Status, away, misused
from flotilla.realtime.live.triggers import Plan, carry_out, plan


class Command(OurCommand):
    """Makes and removes triggers."""

    help = (
        "Make triggers in a PostgreSQL database, so that live models see changes that come past Django: SQL by hand, "
        "other programs, cascades of the database. Run it after migrations, and when live models changed."
    )
    examples = (
        ("", "make those that are missing, and those that say something else anew"),
        ("--check", "say whether all are there; for a deployment"),
        ("--sql", "show what would be done"),
        ("--remove --database other", "remove them all from another database"),
    )
    statuses = {
        Status.NOT_DONE: "with --check: triggers are missing, or are not as they should be; else: some live model can "
        "have none, and it is said why",
        Status.USAGE: MEANINGS[Status.USAGE],
        Status.AWAY: MEANINGS[Status.AWAY],
    }
    shape = {"database": (), "made": (), "removed": (), "triggers": (), "without": (), "sql": ()}

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="the alias of a database [default]")
        ways = parser.add_mutually_exclusive_group()
        ways.add_argument("--check", action="store_true", help="change nothing: are they as they should be?")
        ways.add_argument("--sql", action="store_true", help="change nothing: show the statements")
        ways.add_argument("--remove", action="store_true", help="remove all of them")

    def handle(self, *args: Any, **options: Any) -> None:
        alias = options["database"]
        if alias not in connections:
            raise misused(f"--database: {alias!r} is none of {', '.join(connections)}.")
        if connections[alias].vendor != "postgresql":
            raise misused(f"{alias} is no PostgreSQL: elsewhere, tell of such changes with live.changed().")
        try:
            planned = plan(alias, without=options["remove"])
            if not (options["check"] or options["sql"]):
                carry_out(planned, alias)
        except (DatabaseError, InterfaceError) as error:
            raise away(f"{alias}: {str(error).strip()}") from error
        self._say(planned, options)
        if options["check"] and not planned.done:
            raise CommandError("Run `manage.py live_triggers`: they are not as they should be.")
        if planned.refused:
            raise CommandError("\n".join(planned.refused))

    def _say(self, planned: Plan, options: dict[str, Any]) -> None:
        made, removed = [trigger.name for trigger in planned.make], planned.remove
        if options["as_json"]:
            told = {"database": options["database"], "made": made, "removed": removed}
            told |= {"triggers": sorted(planned.wanted), "without": planned.refused}
            self.tell(told | {"sql": planned.statements() if options["sql"] else []})
        elif options["sql"]:
            self.stdout.write("".join(f"{statement};\n" for statement in planned.statements()))
        else:
            verb = ("to make", "to remove") if options["check"] else ("made", "removed")
            self.stdout.write(f"{len(made)} {verb[0]}, {len(removed)} {verb[1]}, {len(planned.wanted)} in all")
