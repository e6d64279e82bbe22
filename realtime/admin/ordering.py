"""The heads of a list's columns, by some of which it can be ordered, and what an order covers."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlencode

from flotilla.realtime.api.inspection import Page

ORDER = "o"  # the query parameter


class Column(NamedTuple):
    """A column; `order` is what a click on its head asks for first, "" where the list cannot be ordered by it. With
    `both` a second click turns it round."""

    label: str
    order: str = ""
    is_number: bool = False
    both: bool = False


class Head(NamedTuple):
    """A column's head as the template shows it: `query` of the link, "" for none, and `direction` for who listens."""

    label: str
    is_number: bool
    query: str
    direction: str


def heads(columns: Sequence[Column], wanted: Mapping[str, str]) -> list[Head]:
    """The heads of a list with these parameters; another order begins with its first page."""
    return [_head(column, wanted) for column in columns]


def _head(column: Column, wanted: Mapping[str, str]) -> Head:
    asked = wanted.get(ORDER, "")
    if not column.order:
        return Head(column.label, column.is_number, "", "")
    if asked.lstrip("-") != column.order.lstrip("-"):
        following, direction = column.order, "none"
    else:
        turned = asked.removeprefix("-") if asked.startswith("-") else f"-{asked}"
        following = turned if column.both and asked == column.order else ""
        direction = "descending" if asked.startswith("-") else "ascending"
    query = urlencode({key: value for key, value in {**wanted, ORDER: following}.items() if value})
    return Head(column.label, column.is_number, query or f"{ORDER}=", direction)


def covered(columns: Sequence[Column], wanted: Mapping[str, str], page: Page) -> str:
    """What the order covers, in words; "" where the list is in the order of its names."""
    asked = wanted.get(ORDER, "").lstrip("-")
    column = next((one for one in columns if asked and one.order.lstrip("-") == asked), None)
    if column is None:
        return ""
    if page.ranked:
        return f"By “{column.label}”, of the {page.ranked} that come first on each of {page.answered} instances."
    return f"By “{column.label}”, over all {page.total} on {page.answered} instances."
