"""One incarnation, as its own process knows it: what it ought to have in Redis.

Holds the entries in each scope, which calls are under way, and which scopes are in doubt because a call's outcome is
unknown. Pure state: `own_entries`, `repair` and `lease_renewal` make the calls. Bounded by the connections there are
and the scopes they are in.

A generation counts the doubts. A call that was given up may still be read by Redis from a socket at any later time.
Putting a scope right raises the scope's fence to the newest generation, and so shuts out every call that was sent
before the doubt.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from flotilla.presence.entries import Leaving, Named
from flotilla.presence.leases import Renewals


@dataclass(slots=True)
class Record:
    """One scope. `entries` are confirmed by Redis, `calls` are under way, `registered`: it is noted for the reapers.

    `ends` are connections that are to be removed with a note of their end, which Redis has not confirmed yet."""

    refresh_at: float
    entries: dict[str, Named] = field(default_factory=dict)
    ends: dict[str, Leaving] = field(default_factory=dict)
    calls: int = 0
    registered: bool = False

    @property
    def empty(self) -> bool:
        """Whether nothing is here, and nothing is on its way here."""
        return not self.entries and not self.calls and not self.ends


class Incarnation:
    """One life of one process, under a `name` that no other life ever has."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.renewals = Renewals(name)
        self.generation = 1
        self.registry_doubts = 0
        self.recall = False  # the first shard may know scopes that this process does not
        self.records: dict[str, Record] = {}
        self.entering: set[tuple[str, str]] = set()  # (scope, client) whose add is under way
        self.doubted: dict[str, None] = {}  # an ordered set
        self.idle: dict[str, float] = {}  # scope → since when it has no entries

    def open(self, scope: str, refresh_at: float) -> Record:
        """The record of a scope, made if need be."""
        record = self.records.get(scope)
        if record is None:
            record = self.records[scope] = Record(refresh_at)
        return record

    def doubt(self, scope: str) -> None:
        """The outcome of a call in `scope` is unknown: it is to be put right."""
        self.generation += 1
        if scope in self.records:
            self.doubted[scope] = None

    def doubt_where(self, applies: Callable[[str], bool], audit_at: float) -> None:
        """A shard lost data: all of its scopes are to be put right, and looked through at `audit_at`."""
        self.generation += 1
        for scope, record in self.records.items():
            if applies(scope):
                self.doubted[scope] = None
                record.refresh_at = min(record.refresh_at, audit_at)

    def doubt_registry(self, audit_at: float) -> None:
        """The first shard lost data: every scope is to be registered again and put right."""
        self.registry_doubts += 1
        self.recall = True
        for record in self.records.values():
            record.registered = False
        self.doubt_where(lambda scope: True, audit_at)

    def entering_in(self, scope: str) -> set[str]:
        """Clients whose add in `scope` is under way."""
        return {client for where, client in self.entering if where == scope}

    def settle(self, scope: str, now: float) -> None:
        """After a call: note that the scope is idle, if it is."""
        record = self.records.get(scope)
        if record is not None and record.empty and scope not in self.doubted:
            self.idle[scope] = now

    def close_idle(self, since: float, most: int) -> list[str]:
        """Forget scopes that have been idle from `since` or earlier, at most so many; returns their names."""
        closed: list[str] = []
        for scope, idle_since in list(self.idle.items()):
            record = self.records.get(scope)
            if record is None or not record.empty or scope in self.doubted:
                del self.idle[scope]
            elif idle_since <= since and len(closed) < most:
                del self.idle[scope], self.records[scope]
                closed.append(scope)
        return closed

    def reopen_idle(self, scopes: Iterable[str], now: float) -> None:
        """Redis could not be told of closed scopes: to be tried again later."""
        for scope in scopes:
            self.open(scope, now)
            self.settle(scope, now)
