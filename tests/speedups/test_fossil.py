"""Fossil deltas: what is made of them, where they are cut, and what they cost at worst."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flotilla.realtime.protocol.fossil import apply_delta
from tests.both_implementations import implementations
from tests.growth import TIMES, is_linear

pytestmark = pytest.mark.parametrize("speedups", implementations())
many = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
PAYLOAD = 64 * 1024


def prices(**changed: float) -> bytes:
    """A payload of many like parts, some of which have changed."""
    rows = [{"symbol": f"S{i}", "price": changed.get(f"S{i}", i * 7.25), "open": True} for i in range(100)]
    return json.dumps(rows).encode()


@many
@given(source=st.binary(max_size=300), target=st.binary(max_size=300))
def test_any_target_is_made_of_any_source(speedups: Any, source: bytes, target: bytes) -> None:
    assert apply_delta(source, speedups.fossil_delta(source, target)) == target


@many
@given(parts=st.lists(st.text(max_size=50), max_size=8), order=st.lists(st.integers(0, 7), max_size=12))
def test_a_text_is_cut_between_characters(speedups: Any, parts: list[str], order: list[int]) -> None:
    source = "".join(parts).encode()
    target = "".join(parts[i] for i in order if i < len(parts)).encode()
    delta = speedups.fossil_delta(source, target)
    assert apply_delta(source, delta) == target
    delta.decode()


@pytest.mark.parametrize(("one", "other"), [("ü", "ý"), ("€", "₭"), ("🚀", "🚁"), ("🚀", "🛀")])
def test_characters_that_begin_or_end_alike_are_not_cut(speedups: Any, one: str, other: str) -> None:
    around = "x" * 40
    delta = speedups.fossil_delta((around + one + around).encode(), (around + other + around).encode())
    assert f":{other}" in delta.decode()
    assert len(delta) < 30


def test_a_delta_is_as_the_format_says(speedups: Any) -> None:
    """Sizes and offsets in the format's digits, the checksum of all of the target."""
    assert speedups.fossil_delta(b"", b"hello") == b"5\n5:hello3NPMmh;"
    assert speedups.fossil_delta(b"x" * 64, b"x" * 64) == b"10\n10@0,27XtU0;"
    assert speedups.fossil_delta(b"abc", b"") == b"0\n0;"


def test_what_has_changed_is_all_that_is_inserted(speedups: Any) -> None:
    """In several parts, of other lengths than before."""
    before, after = prices(), prices(S3=1.5, S50=123456.78, S98=0.25)
    delta = speedups.fossil_delta(before, after)
    assert apply_delta(before, delta) == after
    assert len(delta) < 80


def test_parts_that_have_changed_places_are_copied(speedups: Any) -> None:
    parts = [f'{{"name":"{name}","text":"{name * 30}"}},' for name in ("abc", "xyz", "uvw", "rst")]
    before, after = "".join(parts).encode(), "".join(reversed(parts)).encode()
    delta = speedups.fossil_delta(before, after)
    assert apply_delta(before, delta) == after
    assert len(delta) < 60


def hostile(size: int = PAYLOAD) -> dict[str, tuple[bytes, bytes]]:
    """Payloads that slow a search down: nothing alike, everything alike, alike in many places and never for long."""
    block = b"0123456789abcdef"
    return {
        "nothing": (bytes(range(256)) * (size // 256), b"".join(i.to_bytes(4, "big") for i in range(size // 4))),
        "everything": (b"a" * size, b"b" + b"a" * (size - 2) + b"b"),
        "blocks": (block * (size // 16), b"".join(block + bytes([i % 200]) for i in range(size // 17))),
        "halves": ((block + b"!" * 16) * (size // 32), (b"?" + block) * (size // 17)),
        "no characters": (b"\x80" * size, b"a" + (b"\x80" * 20 + b"b") * (size // 21)),
    }


@pytest.mark.parametrize("name", hostile())
def test_the_cost_grows_with_the_length_whatever_comes(speedups: Any, name: str) -> None:
    source, target = hostile()[name]
    assert apply_delta(source, speedups.fossil_delta(source, target)) == target
    payloads = {times: hostile(PAYLOAD // TIMES * times)[name] for times in (1, TIMES)}
    assert is_linear(lambda times: speedups.fossil_delta(*payloads[times]))
