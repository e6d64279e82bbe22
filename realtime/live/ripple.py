"""Rows that are changed with rows of another table: looked at before and after, by the values that lead to them."""

from collections.abc import Iterable
from typing import Any

from flotilla.realtime.live.dependents import Dependent
from flotilla.realtime.live.operation import Operation
from flotilla.realtime.live.reading import become_writer


class Ripple:
    """What one operation on other rows does to a live model's rows. Whoever uses it is in a transaction."""

    def __init__(self, dependent: Dependent, using: str) -> None:
        self._dependent = dependent
        self._using = using
        self._operation = Operation(dependent.live, using)
        self._values: dict[Any, None] = {}
        self._keys: dict[Any, None] = {}
        become_writer(using)

    def before(self, values: Iterable[Any], *, ends: bool = False) -> None:
        """The rows that go with these values are about to change. `ends`: behind the change nothing leads to them."""
        self._values.update(dict.fromkeys(values))
        if ends or self._dependent.moves:
            for page in self._dependent.pages(self._values, self._using):
                self._keys.update(dict.fromkeys(self._operation.before(page) if self._dependent.moves else page))

    def after(self, values: Iterable[Any] = ()) -> None:
        """They have changed, and those that go with these values."""
        self._values.update(dict.fromkeys(values))
        for page in self._dependent.pages(self._values, self._using):
            self._operation.after(page)
            for key in page:
                self._keys.pop(key, None)
        self._operation.after(list(self._keys))
