"""Every Redis key of presence.

A scope's keys carry the hash tag of its channel, those of users' scopes the tag of one of a few *districts*, and the
cluster's own keys the tag `{leases}` on the first shard (in a Redis Cluster each has that of its virtual shard). In a
district are also the ends of its users' connections that are still to be told (`ends`), so that one script can remove a
connection and note its end. One script takes keys of two tags, where both are on one Redis (`lua/enter.lua`).
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

from flotilla.presence.scopes import Scope
from flotilla.store import Placement, placement_of, whole_placement
from flotilla.store.conf import get_store_config
from flotilla.store.placement import partition_placement

ENDS = "e:"  # noted among an incarnation's scopes: a district where ends of its connections are still to be told
REMEMBERED = 4096  # scopes whose keys need not be made again
DISTRICTS = 16  # never to be changed in a living cluster
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")


@dataclass(frozen=True, slots=True)
class Home:
    """Where a scope lives. Channels and users have kinds of their own: a channel may be named like a user's scope."""

    placement: Placement
    kind: str
    name: str = ""  # of the user within the district
    district: "District | None" = None  # where ends are noted; None: nobody wants to know of them

    @property
    def entries(self) -> str:
        """Hash: client → entry."""
        return self.placement.key(f"{self.kind}c{self.name}")

    @property
    def users(self) -> str:
        """Hash: user → number of connections."""
        return self.placement.key(f"{self.kind}u{self.name}")

    def mine(self, incarnation: str) -> str:
        """Set: the clients of one incarnation."""
        return self.placement.key(f"{self.kind}i{self.name}:{incarnation}")

    def fence(self, incarnation: str) -> str:
        """String: "reaped", or the least generation whose writes still count."""
        return self.placement.key(f"{self.kind}t{self.name}:{incarnation}")

    def of(self, incarnation: str) -> list[str]:
        """The four keys that a script about one incarnation wants."""
        return [self.entries, self.users, self.mine(incarnation), self.fence(incarnation)]

    def with_ends(self, incarnation: str) -> list[str]:
        """The keys of a script that removes entries: `of`, and in a district the three of its ends."""
        ends = self.district.of(incarnation) if self.district else []
        return [*self.of(incarnation), *ends]


@dataclass(frozen=True, slots=True)
class District:
    """A share of all users, whose keys are together: `number` of DISTRICTS."""

    number: int

    @property
    def placement(self) -> Placement:
        """Where everything of the district lives."""
        return placement_of(f"users/{self.number}")

    @property
    def scope(self) -> str:
        """The name under which an incarnation's ends here are noted for its reapers."""
        return f"{ENDS}{self.number}"

    def pending(self, incarnation: str) -> str:
        """Hash: client → user and note, of an incarnation's connections whose end is to be told."""
        return self.placement.key(f"ue:{incarnation}")

    def claimed(self, incarnation: str) -> str:
        """Hash: client → who is telling its end."""
        return self.placement.key(f"ul:{incarnation}")

    def taken(self, incarnation: str) -> str:
        """String: exists once others tell the incarnation's ends."""
        return self.placement.key(f"ux:{incarnation}")

    def of(self, incarnation: str) -> list[str]:
        """The three keys of an incarnation's ends."""
        return [self.pending(incarnation), self.claimed(incarnation), self.taken(incarnation)]


def home_of(scope: str) -> Home:
    """The home of a channel's scope (beside the channel's other keys) or of a user's (in the user's district).

    Raises ValueError for what is no scope."""
    config = get_store_config()
    return _home_of(scope, config.prefix, config.virtual_shards)


@lru_cache(maxsize=REMEMBERED)
def _home_of(scope: str, prefix: str, shards: int) -> Home:
    """`prefix` and `shards` are those of the settings, on which the placement depends."""
    channel = Scope.channel_of(scope)
    if channel is not None:
        return Home(placement_of(channel), "p")
    if Scope.user_of(scope) is not None:
        digest = blake2b(scope.encode(), digest_size=10).digest()
        district = District(digest[0] % DISTRICTS)
        return Home(district.placement, "u", f":{digest.hex()}", district)
    raise ValueError(f"{scope!r} is no scope: make it with Scope.channel or Scope.user")


def own_keys(scope: str, incarnation: str) -> tuple[str, ...]:
    """The four keys of a scope that a script about one incarnation wants."""
    config = get_store_config()
    return _own_keys(scope, incarnation, config.prefix, config.virtual_shards)


@lru_cache(maxsize=REMEMBERED)
def _own_keys(scope: str, incarnation: str, prefix: str, shards: int) -> tuple[str, ...]:
    return tuple(_home_of(scope, prefix, shards).of(incarnation))


def district_of(scope: str) -> District | None:
    """The district that an `e:<number>` names; None for another scope."""
    return District(int(scope.removeprefix(ENDS))) if scope.startswith(ENDS) else None


def noted_with(scope: str) -> list[str]:
    """What an incarnation notes before its first entry in a scope: the scope, and where its ends will be."""
    district = None if Scope.user_of(scope) is None else home_of(scope).district
    return [scope, district.scope] if district else [scope]


def safe_name(instance: str) -> str:
    """An instance's name as it may stand in a key."""
    return _UNSAFE.sub("-", instance)


def _cluster(kind: str) -> str:
    return whole_placement("leases").key(kind)


def leases() -> str:
    """Sorted set: incarnation → end of its lease, ms of Redis's clock. Also the list of all incarnations."""
    return _cluster("pl")


def about() -> str:
    """Hash: incarnation → number of its last renewal LF JSON that describes it."""
    return _cluster("pa")


def generations() -> str:
    """Hash: incarnation → least generation whose registrations still count."""
    return _cluster("pg")


def tombstone(incarnation: str) -> str:
    """String: exists once the incarnation is dead."""
    return _cluster(f"px:{incarnation}")


def registered(incarnation: str) -> str:
    """Set: the scopes in which the incarnation may have entries."""
    return _cluster(f"pr:{incarnation}")


def registry(incarnation: str) -> list[str]:
    """The four keys that a script about one incarnation's scopes wants."""
    return [leases(), tombstone(incarnation), registered(incarnation), generations()]


def claim(incarnation: str) -> str:
    """String: the survivor that is reaping the incarnation now."""
    return _cluster(f"pw:{incarnation}")


def probe_mark(incarnation: str, shard: int) -> str:
    """String, on every shard: a number that the incarnation raises at each probe, to see a shard that went back in
    time."""
    kind, shards = f"pb:{incarnation}", get_store_config().virtual_shards
    return partition_placement(0, shard, shards).partition_key(kind) if shards else _cluster(kind)
