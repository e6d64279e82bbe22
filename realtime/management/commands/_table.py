"""Rows as a table for people. What clients chose to be called cannot move the terminal's cursor: only what can be
printed is shown."""

from collections.abc import Sequence
from datetime import UTC, datetime

LONGEST_DATA = 200  # characters of a payload that are shown


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """The lines of a table, with its heads. The last column is as wide as it is."""
    cells = [list(heads), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def printable(value: object) -> str:
    """A value on one line, without characters that do something to a terminal."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in str(value))


def shortened(text: str) -> str:
    """The beginning of a payload."""
    return text if len(text) <= LONGEST_DATA else f"{text[:LONGEST_DATA]}…"


def clock(seconds: float) -> str:
    """A time (Unix seconds), in UTC; "-" for 0, which is not known."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ") if seconds else "-"
