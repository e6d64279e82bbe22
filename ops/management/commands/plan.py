"""`manage.py plan`: how many instances and Redises a load takes, by measured costs; nothing is asked or started.

Exit status 0: it fits. 1: nothing that was allowed suffices.
"""

from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
from django.core.management.base import CommandError

from flotilla.command_line import OurCommand, Status, misused, number, whole_number
from flotilla.config_reader import parse_duration
from flotilla.ops.plan.costs import CostsError, read
from flotilla.ops.plan.deaths import instance_dies, redis_dies
from flotilla.ops.plan.load import DEFAULTS, Load, LoadError
from flotilla.ops.plan.report import explained, lines
from flotilla.ops.plan.sizing import GIB, Limits, Plan, hangs_on, plan

GBIT = 1e9
LIMITS = Limits()
COUNT, NUMBER = whole_number(0, 10**9 - 1), number(0, 1e12)
WORKLOAD = (
    ("--users", COUNT, "users that are connected"),
    ("--visitors", COUNT, "connections without a user"),
    ("--devices", NUMBER, "connections of each user"),
    ("--rooms", COUNT, "channels that people are in"),
    ("--members", NUMBER, "of a room; otherwise each connection is in one room"),
    ("--rate", NUMBER, "publications a second, in all rooms together"),
    ("--room-rate", NUMBER, "publications a second in each room, in place of --rate"),
    ("--size", COUNT, "bytes of a publication's data"),
    ("--history", NUMBER, "share of the rooms that keep history"),
    ("--history-size", COUNT, "publications that a room keeps"),
    ("--history-ttl", str, "how long it keeps them"),
    ("--reconnects", NUMBER, "connections a second that end and come again; otherwise each lasts an hour"),
    ("--from-clients", NUMBER, "share of the publications that clients send; the rest comes straight to Redis"),
    ("--check-every", str, "position_check_interval: how often a quiet channel is compared with its history"),
    ("--compressed-to", NUMBER, "share of a message's bytes that compression leaves; 1: it is off"),
)
MACHINE = (
    ("--headroom", NUMBER, LIMITS.headroom, "share of each core that stays free"),
    ("--instances", COUNT, None, "so many, in place of as many as are needed"),
    ("--redis", COUNT, None, "so many Redises, in place of as many as are needed"),
    ("--instance-memory", NUMBER, LIMITS.instance_bytes / GIB, "GiB that an instance may have"),
    ("--redis-memory", NUMBER, LIMITS.redis_bytes / GIB, "GiB that a Redis may have"),
    ("--files", COUNT, LIMITS.files, "files that a process may open"),
    ("--network", NUMBER, LIMITS.network_bits / GBIT, "Gbit/s of a host"),
)


class Command(OurCommand):
    """Predicts."""

    help = (
        "Says how many instances and Redises a load takes, what is full first, what a death costs: by measured costs."
    )
    requires_system_checks = []  # it is about another installation
    examples = (
        ("--users 100000 --rooms 10000 --rate 500", "rooms of ten, five hundred publications a second"),
        ("--users 1000000 --rooms 1 --rate 1 --from-clients 0 --explain", "one room of a million, and the formulae"),
        (
            "--users 5000 --rooms 5000 --members 20 --room-rate 0.1 --costs mine.json --json",
            "by your own machine's costs",
        ),
    )
    statuses = {Status.NOT_DONE: "nothing that was allowed suffices, or the file of costs cannot be used"}
    shape = {
        "fits": (),
        "load": (),
        "instances": (),
        "redis": (),
        "cores": (),
        "resources": ("name", "used", "there", "unit", "share", "mend"),
        "first": (),
        "instance_dies": (),
        "redis_dies": (),
        "hangs_on": ("option", "cores"),
        "costs": (),
    }

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The load, the machine, the costs."""
        load = parser.add_argument_group("the load")
        for name, kind, text in WORKLOAD:
            default = DEFAULTS.get(_word(name))
            _add(load, name, kind, _as_time(float(default)) if kind is str and default else default, text)
        load.add_argument("--presence", choices=("on", "off"), default="on", help="keep who is in each room [on]")
        load.add_argument("--join-leave", action="store_true", help="tell members who comes and goes; needs presence")
        machines = parser.add_argument_group("the machines")
        for option in MACHINE:
            _add(machines, *option)
        parser.add_argument("--costs", type=Path, help="a file of costs, made by `make measure-costs` [the package's]")
        parser.add_argument("--explain", action="store_true", help="every part of every figure, and the formulae")

    def handle(self, **options: Any) -> None:
        """Predict, and say so."""
        try:
            costs = read(options["costs"])
        except CostsError as error:
            raise CommandError(str(error), returncode=Status.NOT_DONE) from None
        try:
            made = plan(self._load(options), costs, self._limits(options))
        except LoadError as error:
            raise misused(str(error)) from None
        if options["as_json"]:
            self.tell(document(made))
        else:
            for line in [*lines(made), *(explained(made) if options["explain"] else ())]:
                self.stdout.write(line)
        if not made.fits:
            raise CommandError(f"it does not fit: {made.first.name}", returncode=Status.NOT_DONE)

    def _load(self, options: dict[str, Any]) -> Load:
        if options["join_leave"] and options["presence"] == "off":
            raise LoadError("--join-leave needs presence: leave --presence off out")
        words = {name: options[name] for name in (_word(option) for option, *_ in WORKLOAD)}
        for name in ("history_ttl", "check_every"):
            words[name] = self._seconds(name, options[name])
        return Load.of(**words, presence=options["presence"] == "on", join_leave=options["join_leave"])

    def _seconds(self, name: str, text: str) -> float:
        try:
            return parse_duration(text)
        except msgspec.ValidationError:
            option = f"--{name.replace('_', '-')}"
            raise LoadError(f'{option} is a time: "90s", "5m", "720h"') from None

    def _limits(self, options: dict[str, Any]) -> Limits:
        return Limits(
            headroom=options["headroom"],
            instance_bytes=options["instance_memory"] * GIB,
            redis_bytes=options["redis_memory"] * GIB,
            files=options["files"],
            network_bits=options["network"] * GBIT,
            instances=options["instances"],
            nodes=options["redis"],
        )


def _word(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")


def _as_time(seconds: float) -> str:
    """As `parse_duration` reads it."""
    return f"{seconds:g}s" if seconds % 60 else f"{seconds / 60:g}m"


def _add(group: Any, name: str, kind: Callable[[str], Any], default: Any, text: str) -> None:
    shown = "" if default is None else f" [{default}]"
    group.add_argument(name, type=kind, default=default, required=name == "--rooms", help=f"{text}{shown}")


def document(made: Plan) -> dict[str, Any]:
    """A plan for machines."""
    used = made.usage
    return {
        "fits": made.fits,
        "load": asdict(made.load),
        "instances": {
            "count": used.instances,
            "connections": used.connections,
            "cores": used.instance,
            "bytes": used.instance_bytes,
            "out_bytes_per_second": used.clients_out,
            "in_bytes_per_second": used.instance_in,
            "cpu": used.instance_cpu,
            "memory": used.instance_memory,
        },
        "redis": {
            "count": used.nodes,
            "cores": used.redis,
            "bytes": used.redis_bytes,
            "commands_per_second": used.redis_commands,
            "in_bytes_per_second": used.redis_in,
            "out_bytes_per_second": used.redis_out,
            "cpu": used.redis_cpu,
            "memory": used.redis_memory,
        },
        "cores": made.cores,
        "resources": [asdict(one) | {"share": one.share} for one in made.resources],
        "first": made.first.name,
        "instance_dies": asdict(instance_dies(made)),
        "redis_dies": asdict(redis_dies(made)),
        "hangs_on": [{"option": name, "cores": share} for name, share in hangs_on(made)],
        "costs": msgspec.structs.asdict(made.costs.source),
    }
