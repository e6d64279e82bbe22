"""Every Redis key of presence.

A scope's keys carry the hash tag of its channel (or of the scope itself), the cluster's own keys the tag `{leases}` on
the first shard. One script takes keys of two tags, where both are on one Redis (`lua/enter.lua`).
"""

import re
from dataclasses import dataclass

from django.conf import settings

from store import Placement, place

CHANNEL = "c:"  # scope of a channel's members
USER = "u:"  # scope of a user's connections
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")


@dataclass(frozen=True, slots=True)
class Home:
    """Where a scope lives. Channels and users have kinds of their own: a channel may be named like a user's scope."""

    placement: Placement
    kind: str

    @property
    def entries(self) -> str:
        """Hash: client → entry."""
        return self.placement.key(self.kind + "c")

    @property
    def users(self) -> str:
        """Hash: user → number of connections."""
        return self.placement.key(self.kind + "u")

    def mine(self, incarnation: str) -> str:
        """Set: the clients of one incarnation."""
        return self.placement.key(f"{self.kind}i:{incarnation}")

    def fence(self, incarnation: str) -> str:
        """String: "reaped", or the least generation whose writes still count."""
        return self.placement.key(f"{self.kind}t:{incarnation}")

    def of(self, incarnation: str) -> list[str]:
        """The four keys that a script about one incarnation wants."""
        return [self.entries, self.users, self.mine(incarnation), self.fence(incarnation)]


def home_of(scope: str) -> Home:
    """The home of "c:<channel>" (beside the channel's other keys) or of "u:<user id>"."""
    if scope.startswith(CHANNEL):
        return Home(place(scope.removeprefix(CHANNEL)), "p")
    if scope.startswith(USER):
        return Home(place(scope), "u")
    raise ValueError(f"a scope begins with {CHANNEL!r} or {USER!r}, not {scope!r}")


def safe_name(instance: str) -> str:
    """An instance's name as it may stand in a key."""
    return _UNSAFE.sub("-", instance)


def _cluster(kind: str) -> str:
    return Placement("leases", settings.REALTIME_PREFIX).key(kind)


def leases() -> str:
    """Sorted set: incarnation → end of its lease, ms of Redis's clock. Also the list of all incarnations."""
    return _cluster("pl")


def about() -> str:
    """Hash: incarnation → last beat LF JSON that describes it."""
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


def beat(incarnation: str) -> str:
    """String, on every shard: the last beat, from which the incarnation sees that a shard went back in time."""
    return _cluster(f"pb:{incarnation}")
