"""What happens in a scope, kept in Redis as events for other services, by the very scripts that let it happen.

So an event is there exactly when its entry came or went, whoever removed it: its owner, or the reapers of a dead
instance. A queue of events has a part in each partition: a list, oldest first, and a hash about it (`number`: of the
last event, `bytes`, `dropped`, and what its reader keeps there). Each part is bounded; emptying it is left to others.
"""

from dataclasses import dataclass
from typing import NamedTuple

from flotilla.presence.scopes import Scope
from flotilla.store import Placement

KINDS = {
    "connected": "c",
    "disconnected": "d",
    "user_online": "n",
    "user_offline": "f",
    "subscribed": "s",
    "unsubscribed": "u",
    "occupied": "o",
    "vacated": "v",
    "user_joined": "j",
    "user_left": "l",
}
"""Kinds of events, and how they stand in Redis. The first four are of a user's scope, the others of a channel's."""
OF_USERS = frozenset(list(KINDS)[:4])


class Queue(NamedTuple):
    """One reader's queue: `kinds` are the letters of what it takes. At most `most` events and `most_bytes` bytes wait
    in each of its parts, for `ttl` seconds after the last one came."""

    name: str
    kinds: str
    most: int
    most_bytes: int
    ttl: int


@dataclass(frozen=True, slots=True)
class Outbox:
    """Where a scope's events go: the queues' keys, and what the scripts want to know (`lua/_common.lua`)."""

    keys: tuple[str, ...]
    told: str


def part_keys(name: str, partition: Placement) -> tuple[str, str]:
    """The list of a queue in a partition, and the hash about it."""
    return partition.partition_key(f"pe-{name}"), partition.partition_key(f"pf-{name}")


def outbox_for(scope: str, placement: Placement, queues: tuple[Queue, ...]) -> Outbox | None:
    """The outbox of a scope that lives at `placement`; None without a queue."""
    if not queues:
        return None
    names = tuple(key for queue in queues for key in part_keys(queue.name, placement))
    channel = Scope.channel_of(scope) or ""
    lines = [channel, *(f"{one.kinds} {one.most} {one.most_bytes} {one.ttl}" for one in queues)]
    return Outbox(names, "".join(f"{line}\n" for line in lines))
