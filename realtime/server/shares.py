"""Things of which there are only so many (connections, places), counted for each network: the one that holds most is
found at once.

A tree: each thing lies under a path (`flotilla.realtime.server.networks`, widest network first). Every operation costs
the same however much there is, and a network that holds nothing any more is forgotten. Pure.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

Thing = TypeVar("Thing")
Path = tuple[object, ...]


class Shares(Generic[Thing]):
    """The things of one network: in the networks within it, or its own where it is the narrowest."""

    __slots__ = ("_ahead", "_by_size", "_inner", "_most", "_things", "size")

    def __init__(self) -> None:
        self.size = 0
        self._inner: OrderedDict[object, Shares[Thing]] = OrderedDict()  # the one whose turn is next comes first
        self._things: OrderedDict[Thing, None] = OrderedDict()  # the oldest first
        self._ahead: OrderedDict[Thing, None] = OrderedDict()  # those that go before them
        self._by_size: dict[int, OrderedDict[object, None]] = {}  # names of the inner ones that hold so much
        self._most = 0  # what the fullest inner one holds

    def add(self, path: Path, thing: Thing, *, ahead: bool = False) -> None:
        """Put a thing that is not there yet under its path; `ahead` of those of its network that are not."""
        self.size += 1
        if not path:
            (self._ahead if ahead else self._things)[thing] = None
            return
        name = path[0]
        inner = self._inner.get(name)
        if inner is None:
            inner = self._inner[name] = Shares()
        inner.add(path[1:], thing, ahead=ahead)
        self._sort(name, inner.size - 1, inner.size)

    def remove(self, path: Path, thing: Thing) -> None:
        """Take a thing that is there from under its path."""
        self.size -= 1
        if not path:
            del (self._ahead if thing in self._ahead else self._things)[thing]
            return
        name = path[0]
        inner = self._inner[name]
        inner.remove(path[1:], thing)
        self._sort(name, inner.size + 1, inner.size)
        if not inner.size:
            del self._inner[name]

    def along(self, path: Path) -> "Iterator[Shares[Thing]]":
        """The networks on a path that hold something, widest first; the whole is not among them."""
        shares = self
        for name in path:
            found = shares._inner.get(name)
            if found is None:
                return
            yield found
            shares = found

    def held(self, path: Path) -> int:
        """How much the network at the end of a path holds."""
        found = list(self.along(path))
        return found[-1].size if len(found) == len(path) else 0

    @property
    def fullest_name(self) -> object | None:
        """The name of the inner network that holds most; None where nothing is held."""
        return next(iter(self._by_size[self._most])) if self._inner else None

    def within(self, name: object) -> "Shares[Thing]":
        """An inner network; an empty one where it holds nothing."""
        return self._inner.get(name) or Shares()

    def fullest(self) -> "Shares[Thing]":
        """The narrowest network that holds most, within the wider one that holds most."""
        shares = self
        while shares._inner:
            shares = shares._inner[next(iter(shares._by_size[shares._most]))]
        return shares

    def following(self) -> "Shares[Thing]":
        """The narrowest network whose turn it is: each has its turn before any has a second."""
        shares = self
        while shares._inner:
            name = next(iter(shares._inner))
            shares._inner.move_to_end(name)
            shares = shares._inner[name]
        return shares

    @property
    def oldest(self) -> Thing:
        """The thing that has been in this narrowest network for longest."""
        return next(iter(self._ahead or self._things))

    @property
    def newest(self) -> Thing:
        """The thing that came last; of those ahead the oldest, while there are any."""
        return next(iter(self._ahead)) if self._ahead else next(reversed(self._things))

    @property
    def last(self) -> Thing:
        """The thing whose turn would be last."""
        return next(reversed(self._things or self._ahead))

    def _sort(self, name: object, before: int, now: int) -> None:
        """An inner one holds one more or less."""
        by_size = self._by_size
        if before:
            same = by_size[before]
            if len(same) == 1 and now and now not in by_size:  # as where all come from one network
                del by_size[before]
                by_size[now] = same
                if now > self._most or before == self._most:
                    self._most = now
                return
            del same[name]
            if not same:
                del by_size[before]
        if now:
            same_now = by_size.get(now)
            if same_now is None:
                same_now = by_size[now] = OrderedDict()
            same_now[name] = None
        if now > self._most or self._most not in by_size:
            self._most = now
