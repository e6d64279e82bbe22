"""The kinds of value that a key can hold. A string is plain bytes."""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable
from random import sample


class Hash(dict[bytes, bytes]):
    """Fields and their values."""


class Set(dict[bytes, None]):
    """Members, in the order in which they came."""


class List(deque[bytes]):
    """Elements in order."""


class SortedSet:
    """Members and their scores; in order of score, then of the member's bytes."""

    def __init__(self) -> None:
        self.scores: dict[bytes, float] = {}
        self.order: list[tuple[float, bytes]] = []

    def __len__(self) -> int:
        return len(self.scores)

    def put(self, member: bytes, score: float) -> None:
        """Give a member a score, whether or not it is there."""
        self.remove(member)
        self.scores[member] = score
        insort(self.order, (score, member))

    def remove(self, member: bytes) -> bool:
        """Whether it was there."""
        score = self.scores.pop(member, None)
        if score is None:
            return False
        del self.order[bisect_left(self.order, (score, member))]
        return True


Id = tuple[int, int]


class Stream:
    """Entries by id, oldest first. `last` is the highest id that was ever given; `added` how many ever were."""

    def __init__(self) -> None:
        self.ids: list[Id] = []
        self.entries: list[list[bytes]] = []
        self.last: Id = (0, 0)
        self.added = 0

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, number: Id, fields: list[bytes]) -> None:
        """Append an entry, whose id is above `last`."""
        self.ids.append(number)
        self.entries.append(fields)
        self.last = number
        self.added += 1

    def trim(self, most: int) -> int:
        """Forget the oldest above so many; how many those were."""
        gone = max(len(self.ids) - most, 0)
        del self.ids[:gone], self.entries[:gone]
        return gone


Value = bytes | Hash | Set | List | SortedSet | Stream
NAMES: dict[type, bytes] = {
    bytes: b"string",
    Hash: b"hash",
    Set: b"set",
    List: b"list",
    SortedSet: b"zset",
    Stream: b"stream",
}


def some(members: Iterable[bytes], count: int) -> list[bytes]:
    """Some of them by chance: so many different ones, or as many as there are; below 0: so many, with repetition."""
    known = list(members)
    if count >= 0:
        return sample(known, min(count, len(known)))
    return [sample(known, 1)[0] for _ in range(-count)] if known else []
