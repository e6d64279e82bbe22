"""The keys of the engine: their values, and when each ends.

A key that has ended is gone from the moment of its end, whenever it is looked at; `sweep` frees those that nobody asks
for. A container without elements does not exist. Time stands still during a command, and so during a script.
"""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar, cast

from flotilla.store.in_process.replies import WRONG_TYPE, Error
from flotilla.store.in_process.values import NAMES, Stream, Value

Kind = TypeVar("Kind", bound=Value)


class Keyspace:
    """Values by key. `clock` gives nanoseconds since 1970."""

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self._values: dict[bytes, Value] = {}
        self._ends: dict[bytes, int] = {}
        self.now_us = 0
        self.step()

    @property
    def now_ms(self) -> int:
        """The time of this command, in milliseconds since 1970."""
        return self.now_us // 1000

    def step(self) -> None:
        """Another command begins: look at the clock."""
        self.now_us = self._clock() // 1000

    def __contains__(self, key: bytes) -> bool:
        return self.look(key) is not None

    def __iter__(self) -> Iterator[bytes]:
        return iter([key for key in list(self._values) if key in self])

    def look(self, key: bytes) -> Value | None:
        """The value of a key, of whatever kind."""
        ends = self._ends.get(key)
        if ends is not None and ends <= self.now_ms:
            self.drop(key)
        return self._values.get(key)

    def find(self, key: bytes, kind: type[Kind]) -> Kind | None:
        """The value of a key. Raises Error where it is of another kind."""
        value = self.look(key)
        if value is not None and type(value) is not kind:
            raise Error(WRONG_TYPE)
        return cast("Kind | None", value)

    def make(self, key: bytes, kind: type[Kind]) -> Kind:
        """The value of a key, an empty one where there was none. Raises Error where it is of another kind."""
        value = self.find(key, kind)
        if value is None:
            self._values[key] = value = kind()
        return value

    def put(self, key: bytes, value: Value) -> None:
        """Set the value of a key; its end stays as it is."""
        self._values[key] = value

    def drop(self, key: bytes) -> bool:
        """Remove a key; whether it was there."""
        self._ends.pop(key, None)
        return self._values.pop(key, None) is not None

    def tidy(self, key: bytes) -> None:
        """Remove a key whose value has no elements any more."""
        value = self._values.get(key)
        if value is not None and not isinstance(value, (bytes, Stream)) and not len(value):
            self.drop(key)

    def ends(self, key: bytes) -> int | None:
        """When a key ends, in milliseconds since 1970; None: never."""
        return self._ends.get(key)

    def end_at(self, key: bytes, moment: int | None) -> None:
        """Let a key end at a moment (one that has come removes it), or never."""
        if moment is None:
            self._ends.pop(key, None)
        elif moment <= self.now_ms:
            self.drop(key)
        else:
            self._ends[key] = moment

    def sweep(self) -> None:
        """Free what has ended."""
        for key in [key for key, ends in self._ends.items() if ends <= self.now_ms]:
            self.drop(key)

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()
        self._ends.clear()

    def kind_of(self, key: bytes) -> bytes:
        """The name of a key's kind, `none` where there is no such key."""
        value = self.look(key)
        return b"none" if value is None else NAMES[type(value)]
