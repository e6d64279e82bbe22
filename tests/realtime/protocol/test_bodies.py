"""Bodies of publications: one line of JSON, whatever was published, and what came is not lost."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.realtime.protocol import bodies, replies
from flotilla.realtime.protocol.codes import CommandError
from flotilla.realtime.protocol.encodings import JSON
from flotilla.realtime.protocol.protobuf.encoding import PROTOBUF
from flotilla.realtime.protocol.protobuf.schema import CLASSES
from tests.realtime.protocol.test_commands import JSON_VALUES

INFO = b'{"user":"1","client":"c"}'
SPACE = st.text(" \t\r\n", max_size=3)


def data_in_protobuf(body: bytes) -> bytes:
    data: bytes = CLASSES["Reply"].FromString(PROTOBUF.publication(b"", body, 1)).push.pub.data
    return data


@given(JSON_VALUES, SPACE, SPACE, st.sampled_from([None, 1, "\t"]))
def test_json_of_any_form_is_one_line_for_json_clients(value: object, before: str, behind: str, indent: object) -> None:
    """And byte for byte what it was for others."""
    data = (before + json.dumps(value, indent=indent) + behind).encode()  # type: ignore[arg-type]
    body = bodies.as_published(data, INFO)
    assert b"\n" not in body and b"\r" not in body
    assert data_in_protobuf(body) == data
    pushed = JSON.publication(JSON.channel("x"), body, 7)
    assert b"\n" not in pushed and b"\r" not in pushed
    assert json.loads(pushed)["push"]["pub"] == {"data": value, "info": json.loads(INFO), "offset": 7}
    assert json.loads(bytes(JSON.stored(body, 7))) == {"data": value, "info": json.loads(INFO), "offset": 7}
    assert bodies.plain(body) == {"data": value, "info": json.loads(INFO)}


def test_what_has_no_newline_is_kept_as_it_is() -> None:
    assert bodies.as_published(b'{ "a":1}', INFO) == replies.publication_body(b'{ "a":1}', INFO)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff", b'"\xff"', b'"\xed\xa0\x80"', b"1 2", b"NaN", b"\xef\xbb\xbf1", b"[" * 10**5]
)
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(CommandError) as refused:
        bodies.as_published(data, None)
    assert refused.value.code == 107


def test_half_surrogates_are_json() -> None:
    assert data_in_protobuf(bodies.as_published(b'\n"\\ud83d"', None)) == b'\n"\\ud83d"'


@given(st.binary(min_size=1))
def test_bytes_of_any_kind(data: bytes) -> None:
    body = bodies.binary(data, INFO, {"a": "b"})
    assert data_in_protobuf(body) == data
    assert bodies.plain(body) == {"data": data, "info": json.loads(INFO), "tags": {"a": "b"}}
    assert isinstance(json.loads(bodies.shown(body))["data"], str)
    assert bodies.visible(body) == body


def test_deltas_in_json_do_not_fail_at_bytes() -> None:
    """They are left in history where a namespace takes bytes no longer."""
    body = bodies.binary(b"bytes", INFO, {"a": "b"}, "key")
    assert JSON.payload(body) == b'"Ynl0ZXM="'
    rest = {"info": json.loads(INFO), "tags": {"a": "b"}}
    assert json.loads(JSON.whole(body)) == {"data": '"Ynl0ZXM="'} | rest
    assert json.loads(JSON.changed(body, b"delta")) == {"data": "delta", "delta": True} | rest


def test_tags_that_are_no_texts_are_none() -> None:
    """An instance of 0.2.0 takes them from Python, and so they come."""
    body = b'{"data":1,"tags":{"a":5,"b":"c","d":null}}'
    assert bodies.tags_of(body) == {"b": "c"}
    pushed = CLASSES["Reply"].FromString(PROTOBUF.publication(b"", body, 7)).push.pub
    assert (pushed.data, dict(pushed.tags), pushed.offset) == (b"1", {"b": "c"}, 7)
    assert bodies.tags_of(b'{"data":1,"tags":[1]}') == {}
