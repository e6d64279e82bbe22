"""Depth of payloads and length of their numbers: counted outside of strings, whatever else they hold."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.realtime.protocol.nesting import MAX, MAX_DIGITS, too_deep, too_long_a_number, unreadable


def nested(levels: int, inner: str = "1") -> bytes:
    return ("[" * levels + inner + "]" * levels).encode()


@pytest.mark.parametrize(
    ("data", "deep"),
    [
        (b"1", False),
        (nested(MAX), False),
        (nested(MAX + 1), True),
        (nested(MAX // 2, '{"a":' * (MAX // 2) + "1" + "}" * (MAX // 2)), False),
        (nested(MAX // 2, '{"a":' * (MAX // 2 + 1) + "1" + "}" * (MAX // 2 + 1)), True),
        (b"[" + b",".join([b"[]"] * 1000) + b"]", False),
        (json.dumps("[" * 1000).encode(), False),
        (json.dumps(['\\"' + "[" * 1000, "]" * 999]).encode(), False),
        (nested(MAX + 1, json.dumps("]" * 1000)), True),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else str(value),
)
def test_depth_is_what_a_parser_would_need(data: bytes, deep: bool) -> None:
    assert too_deep(data) is deep


@given(st.recursive(st.text() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_what_is_not_deep_passes_with_any_text_in_it(value: Any) -> None:
    assert not too_deep(json.dumps(value, ensure_ascii=False).encode())


@pytest.mark.parametrize(
    ("data", "long"),
    [
        ("1" * MAX_DIGITS, False),
        ("1" * (MAX_DIGITS + 1), True),
        ("[-" + "9" * 5000 + "]", True),
        ('{"1":"' + "1" * 5000 + '"}', False),
        ('["\\\\",' + "1" * 5000 + "]", True),
        ("[" + ",".join(["1" * 1000] * 60) + "]", False),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(value),
)
def test_a_number_is_one_that_python_reads(data: str, long: bool) -> None:
    """Its json gives up at more digits, and the Python SDK with it."""
    assert too_long_a_number(data.encode()) is unreadable(data.encode()) is long
    if not long:
        json.loads(data)
