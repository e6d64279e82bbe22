"""A row's place as a text: in the order of its values, whatever they are."""

import random
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from flotilla.realtime.live.order import MAX_TEXT, place

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
LADDERS: list[list[Any]] = [
    [
        None,
        -(10**400),
        -(2**63),
        -5.5,
        -5,
        -1e-9,
        0,
        0.5,
        Decimal("0.75"),
        1,
        2**53,
        2**53 + 1,
        2**62,
        2**62 + 1,
        10**400,
    ],
    [None, "", "a", "A b", "ab", "B", "Ä", "中", "😀"],
    [None, datetime(1969, 1, 1, tzinfo=UTC), NOON, NOON + timedelta(microseconds=1), datetime(2300, 1, 1, tzinfo=UTC)],
    [None, date(1, 1, 1), date(2026, 1, 1), date(9999, 12, 31)],
    [None, time(0), time(0, 0, 0, 1), time(23, 59)],
    [None, timedelta(-1), timedelta(0), timedelta(microseconds=1), timedelta(400)],
    [None, False, True],
]


@pytest.mark.parametrize("ladder", LADDERS, ids=lambda ladder: type(ladder[-1]).__name__)
def test_places_are_in_the_order_of_the_values(ladder: list[Any]) -> None:
    upwards = [place([value]) for value in ladder]
    assert upwards == sorted(set(upwards))
    downwards = [place([value], downwards=[True]) for value in ladder]
    assert downwards == sorted(set(downwards), reverse=True)


def test_the_first_value_counts_before_the_second() -> None:
    """Also where one text begins another, upwards and downwards, in any mixture."""
    rows = [(text, number) for text in ("a", "aa", "b", None) for number in (1, 2, None)]
    random.shuffle(rows)
    for down in ((False, False), (True, False), (False, True), (True, True)):
        found = sorted(rows, key=lambda row: place(row, downwards=down))
        wanted = sorted(rows, key=lambda row: (row[1] is not None, row[1] or 0), reverse=down[1])
        wanted.sort(key=lambda row: row[0] or "", reverse=down[0])
        assert found == wanted


def test_what_is_equal_has_one_place() -> None:
    """A number before and after it was in a database; one moment in two zones; a moment without a zone is UTC."""
    assert place([7]) == place([7.0]) == place([Decimal("7.00")])
    assert place([0.0]) == place([-0.0])
    east = NOON.astimezone(timezone(timedelta(hours=5)))
    assert place([NOON]) == place([east]) == place([NOON.replace(tzinfo=None)])
    assert place(["Über"]) == place(["ÜBER"])


def test_a_place_is_short_and_of_plain_characters() -> None:
    found = place(["x" * 10_000, "\x00<\ud83d>", NOON])
    assert set(found) <= set("0123456789abcdef")
    assert len(found) < 2 * (MAX_TEXT + 40)
