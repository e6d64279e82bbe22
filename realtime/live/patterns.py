"""Patterns of channels, as `board:{board_id}`: from a row's values to a name, and from a name back to the rows.

Pure but for Django's fields, which say what a value's text is. A row with a null in one of a pattern's fields is in no
channel of that pattern.
"""

import re
from collections.abc import Iterator, Mapping
from string import Formatter
from typing import Any

from django.db.models import Field, Q

from flotilla.realtime.live.texts import value_of

MAX_READINGS = 64
"""Ways in which one name may be read by a pattern of several texts (`{a}-{b}` in "x-y-z" has two)."""


class PatternFault(ValueError):
    """A pattern that cannot be used; its text says why."""


class Pattern:
    """One pattern of channels. Raises PatternFault where it is none."""

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            parts = list(Formatter().parse(text))
        except ValueError as error:
            raise PatternFault(f"{text!r} is no pattern: {error}") from None
        self._literals, names = [""], []
        for literal, name, form, conversion in parts:
            self._literals[-1] += literal
            if name is None:
                continue
            if not name.isidentifier() or form or conversion:
                raise PatternFault(f"{text!r} is no pattern: write the name of a field alone in the braces")
            names.append(name)
            self._literals.append("")
        self.names: tuple[str, ...] = tuple(names)
        """The fields that it names, in order."""

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"

    @property
    def shape(self) -> tuple[str, ...]:
        """What is between the fields: two patterns of one shape may give the same channels."""
        return tuple(self._literals)

    @property
    def namespace(self) -> str | None:
        """The namespace of all its channels; None where they have none. Raises PatternFault where a field decides."""
        first = self._literals[0].removeprefix("$")
        name, separator, _ = first.partition(":")
        if separator:
            return name
        if self.names and not first.startswith("#"):
            raise PatternFault(f"{self.text!r} names its namespace by a field: begin it as in `board:{{board_id}}`")
        return None

    def channel(self, values: Mapping[str, Any]) -> str | None:
        """The channel of a row with these values, None where one of them is null."""
        told = self._literals[0]
        for name, literal in zip(self.names, self._literals[1:], strict=True):
            if (value := values[name]) is None:
                return None
            told += f"{value}{literal}"
        return told

    def rows(self, channel: str, fields: "Mapping[str, Field[Any, Any]]") -> Q | None:
        """Which rows are in this channel, or None where it is none of this pattern."""
        found: Q | None = None
        for count, texts in enumerate(self._readings(channel)):
            if count == MAX_READINGS:
                return None
            if (values := self._values(texts, fields)) is not None:
                found = Q(**values) if found is None else found | Q(**values)
        return found

    def _values(self, texts: list[str], fields: "Mapping[str, Field[Any, Any]]") -> dict[str, Any] | None:
        """The fields' values as these texts say them; None where a field has no value that is written so."""
        values: dict[str, Any] = {}
        for name, text in zip(self.names, texts, strict=True):
            try:
                value = value_of(fields[name], text)
            except ValueError:
                return None
            if str(value) != text or values.setdefault(name, value) != value:
                return None
        return values

    def _readings(self, channel: str, place: int = 0, at: int = 0) -> Iterator[list[str]]:
        """Every way to cut a name into the texts of the fields from `place` on."""
        literal = self._literals[place]
        if not channel.startswith(literal, at):
            return
        at += len(literal)
        if not self._is_followed(channel, at, place):
            return
        if place == len(self.names):
            if at == len(channel):
                yield []
            return
        following = self._literals[place + 1]
        if place == len(self.names) - 1:
            end = len(channel) - len(following)
            if end >= at and channel.endswith(following):
                yield [channel[at:end]]
            return
        for match in re.finditer(f"(?={re.escape(following)})", channel[at:]):
            end = at + match.start()
            for rest in self._readings(channel, place + 1, end):
                yield [channel[at:end], *rest]

    def _is_followed(self, channel: str, at: int, place: int) -> bool:
        """Whether what is between the fields behind `place` is in the rest of a name, in order: else every way to cut
        it would be tried, of which there are very many."""
        *between, last = self._literals[place + 1 :] or [""]
        end = len(channel) - len(last)
        for literal in between:
            if (found := channel.find(literal, at, end)) < 0:
                return False
            at = found + len(literal)
        return at <= end and channel.endswith(last)
