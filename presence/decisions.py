"""The decisions of presence, without I/O: may this process reap, was its lease unbroken, what must be put right.

Times are seconds of one monotonic clock, given by the caller.
"""

from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class Continuity:
    """Whether this process and Redis have both been well for the length of a lease.

    After a fault of Redis, or a pause of this process, all leases may look expired. A process that was well for the
    length of a lease knows that every living process had that long to renew.
    """

    ttl: float
    every: float
    _since: float | None = None
    _last_sent: float | None = None

    @property
    def slack(self) -> float:
        """How late a renewal, and how slow an answer, may be."""
        return self.ttl / 6

    def quick(self, asked: float, answered: float) -> bool:
        """Whether Redis answered as fast as it does when it is well."""
        return answered - asked < self.slack

    def renewed(self, sent: float, answered: float) -> None:
        """A renewal found the lease held."""
        on_time = self._last_sent is not None and sent - self._last_sent <= self.every + self.slack
        if self._since is None or not on_time or not self.quick(sent, answered):
            self._since = answered
        self._last_sent = sent

    def broken(self) -> None:
        """A renewal failed, or found the lease missing."""
        self._since = None
        self._last_sent = None

    def unbroken(self, now: float) -> bool:
        """Whether the lease was held, renewed on time and answered quickly for a full lease before `now`."""
        if self._since is None or self._last_sent is None:
            return False
        return now - self._since >= self.ttl and now - self._last_sent <= self.every + self.slack


@dataclass(slots=True)
class Sightings:
    """Which incarnations were seen dead twice in a row, or are known to be dead without that."""

    _seen: frozenset[str] = field(default_factory=frozenset)

    def confirm(self, dead: Mapping[str, bool]) -> frozenset[str]:
        """Those of `dead` (True: somebody saw it end) that were dead at the check before, too, or were seen to end."""
        before, self._seen = self._seen, frozenset(dead)
        return before & self._seen | {name for name, ended in dead.items() if ended}

    def forget(self) -> None:
        """A check that cannot be trusted: the next one is the first of two again."""
        self._seen = frozenset()


def may_reap(continuity: Continuity, asked: float, answered: float, own_lease_held: bool) -> bool:
    """Whether an answer about dead incarnations may be acted upon."""
    return own_lease_held and continuity.quick(asked, answered) and continuity.unbroken(answered)


def known_ended(dead: Mapping[str, bool], own_lease_held: bool) -> frozenset[str]:
    """Those of `dead` that may be reaped by any process that holds a lease, also by one that has just started.

    An ended lease did not run out. Somebody who knew wrote that it is over: the supervisor that saw the process exit,
    or the process itself, which gave up the name; and a name is never used again. So nothing is concluded from
    silence, and neither continuity nor a second check is needed.

    A Redis that came back with an older state may have lost such a mark: then the lease runs out like any other. A mark
    that it brings back was true when it was written, and stays true. (Where a lease was ended by mistake and taken
    again, such a mark may end it once more: its process goes on under a new name, as after any declaration of death.)
    """
    return frozenset(name for name, ended in dead.items() if ended) if own_lease_held else frozenset()


def leftovers(found: Iterable[str], entered: Container[str], entering: Container[str]) -> list[str]:
    """Clients that Redis has for this incarnation and the process does not: to be removed, with a leave."""
    return [client for client in found if client not in entered and client not in entering]


def orphans(met: Iterable[str], known: Collection[str]) -> list[str]:
    """Incarnations that have entries somewhere but are not in the list of all: nobody would ever reap them."""
    return [incarnation for incarnation in met if incarnation not in known]


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """`items` in lists of at most `size`."""
    iterator = iter(items)
    while piece := list(islice(iterator, size)):
        yield piece
