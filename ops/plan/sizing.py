"""The smallest numbers of instances and Redises that carry a load, what is full first, and what the plan hangs on.

A core is planned to be busy up to 1 − headroom. Pure.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf

from flotilla.ops.plan.costs import Costs
from flotilla.ops.plan.load import Load, LoadError
from flotilla.ops.plan.usage import Usage, usage

MOST_INSTANCES, MOST_NODES = 100_000, 1_000
GIB = 2**30
FEWEST = 10  # connections of an instance: with fewer, an average says nothing of those that have any
NO_BETTER = 1.02  # of what all that are possible reach: as good, for nothing suffices anyway


@dataclass(frozen=True, slots=True)
class Limits:
    """What a machine gives: cores are planned up to 1 − `headroom`; the rest are sizes in bytes, bits and counts."""

    headroom: float = 0.4
    instance_bytes: float = 2 * GIB
    redis_bytes: float = 16 * GIB
    files: int = 65_536
    network_bits: float = 10e9
    instances: int | None = None
    nodes: int | None = None

    def check(self) -> None:
        """Raises LoadError for what makes no sense."""
        if not 0 <= self.headroom < 0.95:
            raise LoadError("--headroom is the share of a core that stays free: from 0 to 0.95")
        if self.files < 256:
            raise LoadError("--files is what a process may open: at least 256")
        if not all(0 < size < inf for size in (self.instance_bytes, self.redis_bytes, self.network_bits)):
            raise LoadError("--instance-memory, --redis-memory and --network are numbers above 0")
        for name, count, most in (
            ("--instances", self.instances, MOST_INSTANCES),
            ("--redis", self.nodes, MOST_NODES),
        ):
            if count is not None and not 1 <= count <= most:
                raise LoadError(f"{name} is from 1 to {most:,}")


@dataclass(frozen=True, slots=True)
class Resource:
    """Something that can be full: what is used of it, and what there is."""

    name: str
    used: float
    there: float
    unit: str
    mend: str

    @property
    def share(self) -> float:
        """Used of what there is; above 1 it does not suffice."""
        return self.used / self.there


@dataclass(frozen=True, slots=True)
class Plan:
    """What a load takes. `fits` is whether everything suffices."""

    load: Load
    limits: Limits
    costs: Costs
    usage: Usage
    resources: tuple[Resource, ...]

    @property
    def fits(self) -> bool:
        """Whether nothing is used beyond what is there."""
        return all(one.share <= 1.0 + 1e-9 for one in self.resources)

    @property
    def first(self) -> Resource:
        """What is full first, when all of the load grows alike."""
        return max(self.resources, key=lambda one: one.share)

    @property
    def cores(self) -> float:
        """That are busy, of all instances and Redises."""
        return self.usage.cores


def plan(load: Load, costs: Costs, limits: Limits) -> Plan:
    """The smallest that suffices, or the nearest to it where nothing does. Raises LoadError for senseless limits."""
    limits.check()
    nodes = limits.nodes or 1
    while True:
        instances = limits.instances or _instances(load, costs, limits, nodes)
        if limits.nodes:
            break
        needed = _nodes(load, costs, limits, instances)
        if needed <= nodes:
            break
        nodes = needed
    used = usage(load, costs, instances, nodes)
    return Plan(load, limits, costs, used, tuple(_resources(used, limits)))


def _instances(load: Load, costs: Costs, limits: Limits, nodes: int) -> int:
    def worst(count: int) -> float:
        return max(one.share for one in _of_an_instance(usage(load, costs, count, nodes), limits))

    return _least(worst, min(MOST_INSTANCES, max(1, load.connections // FEWEST)))


def _nodes(load: Load, costs: Costs, limits: Limits, instances: int) -> int:
    def worst(count: int) -> float:
        return max(one.share for one in _of_a_redis(usage(load, costs, instances, count), limits))

    return _least(worst, MOST_NODES)


def _least(worst: Callable[[int], float], most: int) -> int:
    """The least count with which nothing is used beyond what is there; where none suffices, the one from which more
    hardly help. `worst` is what the fullest resource uses of what there is, which more never make larger."""
    enough = max(1.0, NO_BETTER * worst(most))
    high = 1
    while worst(high) > enough:
        high = min(high * 2, most)
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if worst(middle) <= enough else (middle, high)
    return high


def _resources(used: Usage, limits: Limits) -> list[Resource]:
    return [*_of_an_instance(used, limits), *_of_a_redis(used, limits)]


def _of_an_instance(used: Usage, limits: Limits) -> list[Resource]:
    return [
        Resource("core of an instance", used.instance, 1 - limits.headroom, "cores", "more instances"),
        Resource(
            "memory of an instance",
            used.instance_bytes,
            limits.instance_bytes,
            "bytes",
            "more instances, or more memory for each",
        ),
        Resource("open files of an instance", used.connections + 100, limits.files, "", "a higher limit (NOFILE)"),
        Resource(
            "network of an instance",
            8 * (used.clients_out + used.instance_in),
            limits.network_bits,
            "bits/s",
            "more hosts: this counts one instance on each",
        ),
    ]


def _of_a_redis(used: Usage, limits: Limits) -> list[Resource]:
    return [
        Resource(
            "core of a Redis", used.redis, 1 - limits.headroom, "cores", "more Redises, or limits on one of their own"
        ),
        Resource(
            "memory of a Redis", used.redis_bytes, limits.redis_bytes, "bytes", "shorter history, or more Redises"
        ),
        Resource(
            "network of a Redis", 8 * (used.redis_in + used.redis_out), limits.network_bits, "bits/s", "more Redises"
        ),
    ]


VARIED = ("users", "rooms", "members", "rate", "size", "reconnects", "from_clients")
GROWN = 1.5


def hangs_on(made: Plan) -> list[tuple[str, float]]:
    """By how much the busy cores grow if one thing is half as much again and all else stays; the largest first.

    Numbers of instances and Redises stay, so that the figures compare. Names are those of the options, and of costs.
    """
    found = []
    for name in VARIED:
        value = getattr(made.load, name)
        if name == "users":
            grown = replace(
                made.load,
                connections=round(made.load.connections * GROWN),
                users=round(value * GROWN),
                visitors=round(made.load.visitors * GROWN),
                rooms=round(made.load.rooms * GROWN),
                reconnects=made.load.reconnects * GROWN,
            )
        elif name == "from_clients":
            grown = replace(made.load, from_clients=min(1.0, value * GROWN))
        elif name == "rooms":
            grown = replace(made.load, rooms=round(value * GROWN), members=made.load.members / GROWN)
        else:
            grown = replace(made.load, **{name: type(value)(value * GROWN)})
        found.append((name, usage(grown, made.costs, made.usage.instances, made.usage.nodes).cores / made.cores - 1))
    return sorted(found, key=lambda one: -abs(one[1]))
