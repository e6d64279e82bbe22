"""What waits in memory for one subscription that is fed, in the order in which it is written. Pure.

`Pending` keeps everything. `Conflated` keeps the newest publication of each key, at the place of the newest: a client
that has been given some of it lacks, of every key, nothing but what has a higher offset.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from typing import Protocol

from flotilla.realtime.engine.publication import Publication
from flotilla.realtime.protocol import bodies


class Waiting(Protocol):
    """What waits; `bytes` in all."""

    bytes: int

    def __len__(self) -> int: ...

    def freed_by(self, publication: Publication) -> int:
        """Bytes that go when this publication comes."""

    def add(self, publication: Publication) -> None:
        """One that is newer than all others."""

    def first(self) -> Publication:
        """The next to be written; something must be waiting."""

    def take(self) -> Publication:
        """The same, which waits no longer."""

    def clear(self) -> None: ...


class Pending:
    """Everything, in order."""

    __slots__ = ("_waiting", "bytes")

    def __init__(self) -> None:
        self._waiting: deque[Publication] = deque()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def freed_by(self, publication: Publication) -> int:
        return 0

    def add(self, publication: Publication) -> None:
        self._waiting.append(publication)
        self.bytes += len(publication.body)

    def first(self) -> Publication:
        return self._waiting[0]

    def take(self) -> Publication:
        publication = self._waiting.popleft()
        self.bytes -= len(publication.body)
        return publication

    def clear(self) -> None:
        self._waiting.clear()
        self.bytes = 0


class Conflated:
    """The newest publication of each key, and everything that has no key. `skipped`: how many were replaced."""

    __slots__ = ("_unkeyed", "_waiting", "bytes", "skipped")

    def __init__(self) -> None:
        self._waiting: OrderedDict[bytes | int, Publication] = OrderedDict()
        self._unkeyed = 0
        self.bytes = 0
        self.skipped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Publication]:
        return iter(self._waiting.values())

    def freed_by(self, publication: Publication) -> int:
        key = bodies.key_of(publication.body)
        replaced = self._waiting.get(key) if key else None
        return 0 if replaced is None else len(replaced.body)

    def add(self, publication: Publication) -> None:
        key: bytes | int = bodies.key_of(publication.body)
        if not key:
            key = self._unkeyed = self._unkeyed + 1
        replaced = self._waiting.pop(key, None)
        if replaced is not None:
            self.bytes -= len(replaced.body)
            self.skipped += 1
        self._waiting[key] = publication
        self.bytes += len(publication.body)

    def first(self) -> Publication:
        return next(iter(self._waiting.values()))

    def take(self) -> Publication:
        _, publication = self._waiting.popitem(last=False)
        self.bytes -= len(publication.body)
        return publication

    def clear(self) -> None:
        self._waiting.clear()
        self.bytes = 0


def conflated(publications: Iterable[Publication]) -> tuple[Publication, ...]:
    """The newest of each key, ascending."""
    newest = Conflated()
    for publication in publications:
        newest.add(publication)
    return tuple(newest)
