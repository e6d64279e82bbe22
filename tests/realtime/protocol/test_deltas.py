"""Publications with their payload as a text, or a delta in its place."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.realtime.protocol.deltas import as_delta, as_text, payload_of
from flotilla.realtime.protocol.replies import publication_body

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
INFO = b'{"user":"7","client":"9f32","conn_info":{"data":"}"}}'


@given(value=VALUES, tags=st.none() | st.dictionaries(st.text(), st.text(), max_size=3), authored=st.booleans())
def test_the_payload_is_the_text_and_all_else_stays(value: Any, tags: dict[str, str] | None, authored: bool) -> None:
    payload = json.dumps(value, ensure_ascii=False).encode()
    body = publication_body(payload, INFO if authored else None, tags)
    assert payload_of(body) == payload
    told = json.loads(as_text(body))
    assert told.pop("data").encode() == payload
    changed = json.loads(as_delta(body, "0\n1:ü".encode()))
    assert changed.pop("data") == "0\n1:ü" and changed.pop("delta") is True
    meant = json.loads(body)
    del meant["data"]
    assert told == changed == meant


@pytest.mark.parametrize(
    "payload", [b'"\\ud83d"', b'{"a":"\\ud83d\\\\"}', b"1e999", b"1.0", b'"a\\/b"', b'{"a":1,"a":2}']
)
def test_a_payload_keeps_every_byte(payload: bytes) -> None:
    """Half surrogates, numbers and escapes as they were written: deltas are made of bytes."""
    body = publication_body(payload, INFO, {"a": "b"})
    assert payload_of(body) == payload
    assert json.loads(as_text(body))["data"].encode() == payload
    assert b"\n" not in as_text(body)
