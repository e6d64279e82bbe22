"""`manage.py redis_health`: is Redis the cause? Each one as it is from here, as the instances see it, and as it says.

Exit status 0: no. 1: one of them is slow, full, restarted lately, or cannot keep what it has. 3: one does not answer.
"""

import statistics
import time
from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError

from flotilla.command_line import Status, away
from flotilla.ratelimit.conf import LIMITS, limits_apart, limits_redis_url
from flotilla.realtime.api.diagnosis import vitals
from flotilla.realtime.management.commands._diagnosis import DiagnosisCommand, ago, bytes_shown
from flotilla.realtime.management.commands._shell import ClusterCommand
from flotilla.store import Shard, StoreUnavailable, get_store
from flotilla.store.nodes import name_of, servers_of_sync

SLOW = 20.0  # ms of a round trip from here, at the median
SLOW_THERE = 50.0  # ms at p99, at every instance
FULL = 0.9  # of maxmemory
BUSY = 0.9  # of the time spent in commands
LATELY = 600  # seconds
ASK_EVERY = 0.05  # seconds between round trips

Info = dict[str, str]


class Command(DiagnosisCommand):
    """Look at each Redis."""

    help = (
        "Say whether Redis is the cause: each one's round trip from here and from the instances, its memory, "
        "persistence, restarts, and which of its commands take the time. Changes nothing."
    )
    examples = (("", "is Redis the cause"), ("--json", "the same for a program"))
    statuses = {
        **ClusterCommand.statuses,
        Status.NOT_DONE: "a Redis is slow, full, restarted lately or not persistent",
        Status.AWAY: "a Redis does not answer",
    }
    shape = {
        "redis": (
            *("redis", "ill", "here_ms", "there_ms", "busy", "busiest", "used", "maxmemory", "policy", "uptime"),
            *("role", "clients", "per_second"),
        )
    }

    def handle(self, *args: Any, **options: Any) -> None:
        redises = list(_redises())  # which finds out the nodes of a cluster
        there = self._there(options)
        rows = [_looked(name, shard, options["seconds"], there.get(name)) for name, shard in redises]
        if options["as_json"]:
            self.tell({"redis": rows})
        else:
            self.show(
                ("REDIS", "FROM HERE", "FROM INSTANCES", "BUSY", "BUSIEST", "MEMORY", "UP", "CLIENTS"),
                [_cells(row) for row in rows],
            )
        ill = [f"Redis {row['redis']}: {'; '.join(row['ill'])}" for row in rows if row["ill"]]
        if any(row["here_ms"] is None for row in rows):
            raise away(" | ".join(ill) + ".")
        if ill:
            raise CommandError(" | ".join(ill) + ".")
        if not options["as_json"]:
            self.stdout.write(self.style.SUCCESS("Redis is well: look elsewhere (`vitals`, `top`, `changes`)"))

    def _there(self, options: dict[str, Any]) -> dict[str, float]:
        """The fastest instance's p99 of each Redis, in ms: what every instance waits for is Redis' own."""
        try:
            asked = vitals(seconds=options["seconds"], within=options["within"])
        except StoreUnavailable:
            return {}
        found: dict[str, float] = {}
        for answer in asked.answers.values():
            slowest: dict[str, float] = {}  # of the shards that are on one server
            for shard, trip in zip(get_store().shards, answer["redis"], strict=False):
                if trip is not None:
                    slowest[name_of(shard)] = max(trip, slowest.get(name_of(shard), trip))
            for name, trip in slowest.items():
                found[name] = min(trip, found.get(name, trip))
        return found


def _redises() -> Iterator[tuple[str, Shard]]:
    yield from servers_of_sync(get_store().shards)
    if limits_apart():
        yield LIMITS, Shard(0, limits_redis_url())


def _looked(name: str, shard: Shard, seconds: float, there: float | None) -> dict[str, Any]:
    row: dict[str, Any] = {"redis": name, "here_ms": None, "there_ms": there}
    try:
        before, began, trips = _info(shard), time.monotonic(), list[float]()
        while time.monotonic() < began + seconds or not trips:
            asked = time.monotonic()
            shard.execute_sync("TIME")
            trips.append((time.monotonic() - asked) * 1000)
            time.sleep(ASK_EVERY)
        now, passed = _info(shard), time.monotonic() - began
    except StoreUnavailable as error:
        return row | {"ill": [str(error).rstrip(".")]}
    row |= {"here_ms": round(statistics.median(trips), 2), "used": int(now["used_memory"])}
    row |= {"maxmemory": int(now.get("maxmemory", 0)), "policy": now.get("maxmemory_policy")}
    row |= {"uptime": int(now["uptime_in_seconds"]), "role": now["role"], "clients": int(now["connected_clients"])}
    row |= {"per_second": int(now["instantaneous_ops_per_sec"])}
    spent = {command: (_usec(now, command) - _usec(before, command)) / 1e6 for command in _commands(now)}
    busiest = max(spent, key=lambda command: spent[command], default=None)
    most = spent.get(busiest or "", 0.0)  # what scripts call is counted twice, so commands are not added up
    busy = min(1.0, max(most, _cpu(now) - _cpu(before)) / passed)
    row |= {"busy": round(busy, 3), "busiest": busiest if most > 0 else None}
    return row | {"ill": list(_complaints(row, now, max(trips)))}


def _complaints(row: dict[str, Any], info: Info, longest: float) -> Iterator[str]:
    if row["here_ms"] > SLOW:
        yield f"a round trip from here takes {row['here_ms']:.0f} ms, {longest:.0f} at most"
    if row["there_ms"] is not None and row["there_ms"] > SLOW_THERE:
        yield f"every instance waits for it, {row['there_ms']:.0f} ms at p99"
    if row["busy"] > BUSY:
        yield f"it does nothing else than {row['busiest']} ({row['busy']:.0%} of the time)"
    if row["maxmemory"] and row["used"] > FULL * row["maxmemory"]:
        yield f"its memory is full: {bytes_shown(row['used'])} of {bytes_shown(row['maxmemory'])}"
    if row["policy"] not in (None, "noeviction"):
        yield f"it throws keys away when it is full ({row['policy']})"
    if row["uptime"] < LATELY:
        yield f"it was started {ago(row['uptime'])} ago"
    if info.get("rdb_last_bgsave_status", "ok") != "ok" or info.get("aof_last_write_status", "ok") != "ok":
        yield "it could not write its file"
    if row["role"] != "master":
        yield f"it is a {row['role']}"


def _info(shard: Shard) -> Info:
    """Every section of INFO, those of commands too."""
    lines = (one.strip().partition(":") for one in shard.execute_sync("INFO", "all").decode().splitlines())
    return {name: value for name, _, value in lines}


def _commands(info: Info) -> list[str]:
    return [name.removeprefix("cmdstat_") for name in info if name.startswith("cmdstat_")]


def _usec(info: Info, command: str) -> int:
    told = dict(part.partition("=")[::2] for part in info.get(f"cmdstat_{command}", "usec=0").split(","))
    return int(told["usec"])


def _cpu(info: Info) -> float:
    return float(info.get("used_cpu_sys", 0)) + float(info.get("used_cpu_user", 0))


def _cells(row: dict[str, Any]) -> list[object]:
    if row["here_ms"] is None:
        return [row["redis"], "no answer", *["-"] * 6]
    there = "-" if row["there_ms"] is None else f"{row['there_ms']:.1f} ms"
    most = f" of {bytes_shown(row['maxmemory'])}" if row["maxmemory"] else ""
    return [
        *(row["redis"], f"{row['here_ms']:.1f} ms", there, f"{row['busy']:.0%}", row["busiest"] or "-"),
        *(bytes_shown(row["used"]) + most, ago(row["uptime"]), row["clients"]),
    ]
