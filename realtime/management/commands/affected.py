"""`manage.py affected [--instance NAME | --redis INDEX]`: whom a trouble hurts.

Without an option: everybody whom something hurts now. An instance that answers nothing any more has left in Redis whom
it serves. Exit status 0: nobody is hurt. 1: somebody is.
"""

from argparse import ArgumentParser
from collections import Counter
from typing import Any

from django.core.management.base import CommandError

from flotilla.command_line import Status, whole_number
from flotilla.presence.inspection import scopes_of
from flotilla.presence.scopes import Scope
from flotilla.realtime.api.diagnosis import Asked, affected
from flotilla.realtime.management.commands._diagnosis import DiagnosisCommand
from flotilla.realtime.management.commands._look import named_rows, person
from flotilla.realtime.management.commands._shell import ClusterCommand, told
from flotilla.realtime.management.commands._table import printable
from flotilla.store import get_store
from flotilla.store.address import MAX_SHARDS

MAX_SCOPES = 20_000  # read of one instance
NAMED = 50
SHOWN = 10
WORDS = {
    "slow": "do not read what they are sent",
    "channels": "are in channels that are not live",
    "errors": "get errors for their commands",
    "redis": "are in channels of this Redis",
    "instance": "are connected to this instance",
    "silent": "are connected to an instance that does not answer",
}


class Command(DiagnosisCommand):
    """Show who is hurt."""

    help = (
        "Show whom a trouble hurts: who is slow, whose commands fail, who is in channels that are not live or on an "
        "instance that is silent; or everybody on an instance or a Redis. Ends with status 1 when somebody is hurt."
    )
    examples = (
        ("", "everybody whom something hurts now"),
        ("--instance web-1-0", "whom one instance serves, also one that answers nothing any more"),
        ("--redis 0", "whose channels are on a Redis"),
    )
    statuses = {**ClusterCommand.statuses, Status.NOT_DONE: "somebody is hurt, or there is no such instance or Redis"}
    shape = {
        "answered": (),
        "instances": (),
        "troubles": ("trouble", "where", "connections", "users", "more_users", "channels", "more_channels"),
    }

    def add_arguments(self, parser: ArgumentParser) -> None:
        one = parser.add_mutually_exclusive_group()
        one.add_argument("--instance", default="", help="an instance by its name")
        one.add_argument(
            "--redis", type=whole_number(0, MAX_SHARDS - 1), metavar="INDEX", help="a Redis of REDIS_URL, from 0"
        )
        super().add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        shard = -1 if options["redis"] is None else options["redis"]
        if shard >= len(get_store().shards):
            raise CommandError(f"There is no Redis {shard}: they are 0 to {len(get_store().shards) - 1}.")
        measure = {name: options[name] for name in ("seconds", "within")}
        asked = told(lambda: affected(shard=shard, **measure))
        troubles = told(lambda: self._troubles(asked, options["instance"], shard))
        if options["as_json"]:
            self.tell({**asked.counts, "troubles": troubles})
        else:
            self._show(troubles)
        if troubles:
            hurt = ", ".join(f"{one['connections']} connections {WORDS[one['trouble']]}" for one in troubles)
            raise CommandError(f"{hurt}.")
        if not options["as_json"]:
            self.stdout.write(self.style.SUCCESS("nobody"))

    def _troubles(self, asked: Asked, instance: str, shard: int) -> list[dict[str, Any]]:
        if instance:
            living = [about for about in asked.living.values() if about["name"] == instance]
            if not living:
                known = ", ".join(sorted(printable(about["name"]) for about in asked.living.values())) or "none"
                raise CommandError(f"There is no instance {instance!r}; alive are {known}. `changes` says what ended.")
            return [self._of_instance("instance", about) for about in living]
        if shard >= 0:
            return self._added(asked, ("redis",))
        silent = [self._of_instance("silent", about) for about in asked.silent]
        return [*silent, *self._added(asked, ("slow", "channels", "errors"))]

    def _of_instance(self, trouble: str, about: dict[str, Any]) -> dict[str, Any]:
        """What its lease said, and the scopes that Redis has of it."""
        scopes = scopes_of(get_store(), about["incarnation"], MAX_SCOPES)
        users = sorted({user for scope in scopes if (user := Scope.user_of(scope)) is not None})
        channels = sorted({name for scope in scopes if (name := Scope.channel_of(scope)) is not None})
        return self._row(
            *(trouble, about["name"], about["num_clients"], dict.fromkeys(users[:NAMED], None), channels[:NAMED]),
            more=(max(0, len(users) - NAMED), max(0, about["num_channels"] - min(len(channels), NAMED))),
        )

    def _added(self, asked: Asked, troubles: tuple[str, ...]) -> list[dict[str, Any]]:
        rows = []
        for trouble in troubles:
            told = [answer[trouble] for answer in asked.answers.values() if trouble in answer]
            count = sum(one["connections"] for one in told)
            users: Counter[str] = Counter()
            for one in told:
                users.update(one["users"])
            channels = sorted({name for one in told for name in one["channels"]})
            more = sum(one["more_users"] for one in told), sum(one["more_channels"] for one in told)
            if count or channels:
                rows.append(self._row(trouble, "", count, dict(users.most_common(NAMED)), channels[:NAMED], more=more))
        return rows

    def _row(
        self,
        trouble: str,
        where: str,
        connections: int,
        users: dict[str, int | None],
        channels: list[str],
        *,
        more: tuple[int, int],
    ) -> dict[str, Any]:
        people = [{"user": user, "connections": count} for user, count in users.items()]
        named_rows(self, people)
        named = {"users": people, "more_users": more[0], "channels": channels, "more_channels": more[1]}
        return {"trouble": trouble, "where": where, "connections": connections, **named}

    def _show(self, troubles: list[dict[str, Any]]) -> None:
        for one in troubles:
            where = f" {printable(one['where'])}:" if one["where"] else ""
            self.stdout.write(f"{where} {one['connections']} connections {WORDS[one['trouble']]}".strip())
            for key, names in (("users", [person(row) for row in one["users"]]), ("channels", one["channels"])):
                more = one[f"more_{key}"] + max(0, len(names) - SHOWN)
                if names:
                    shown = ", ".join(map(printable, names[:SHOWN]))
                    self.stdout.write(f"  {key}: {shown}{f' … {more} more' if more else ''}")
