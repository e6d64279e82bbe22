"""Protobuf by hand, against the library."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flotilla.realtime.protocol.protobuf.schema import CLASSES
from flotilla.speedups.pure.protobuf import read_varint, sized, varint
from tests.both_implementations import implementations

pytestmark = pytest.mark.parametrize("speedups", implementations())
many = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
IDS = st.integers(1, 2**32 - 1)


def written(**command: Any) -> bytes:
    data: bytes = CLASSES["Command"](**command).SerializeToString()
    return varint(len(data)) + data


@many
@given(id=IDS, channel=st.text(st.characters(exclude_categories=["Cs"]), min_size=1), data=st.binary(min_size=1))
def test_a_publish_is_read(speedups: Any, id: int, channel: str, data: bytes) -> None:
    message = written(id=id, publish={"channel": channel, "data": data})
    assert speedups.protobuf_publish(message, 0) == (id, channel, data, len(message))
    assert speedups.protobuf_publish(b"before" + message + b"behind", 6) == (id, channel, data, 6 + len(message))
    for cut in (message[:-1], message[:1], b""):
        assert speedups.protobuf_publish(cut, 0) is None


@pytest.mark.parametrize(
    "message",
    [
        written(id=1, presence={"channel": "x"}),
        written(id=1, publish={"channel": "x"}),
        written(id=1, publish={"data": b"x"}),
        written(publish={"channel": "x", "data": b"x"}),
        written(id=2**32, publish={"channel": "x", "data": b"x"}),
        written(id=1, publish={"channel": "x", "data": b"x"}, ping={}),
        b"\x00",
        b"\xff" * 20,
        b"\x06\x08\x01\x3a\x02\x0a\x7f",
    ],
)
def test_all_else_is_left_to_the_library(speedups: Any, message: bytes) -> None:
    assert speedups.protobuf_publish(message, 0) is None


def test_no_place_is_too_far(speedups: Any) -> None:
    message = written(id=1, publish={"channel": "x", "data": b"x"})
    assert speedups.protobuf_publish(message, len(message)) is None
    assert speedups.protobuf_publish(message, 10**6) is None


def test_a_channel_that_is_no_text(speedups: Any) -> None:
    publish = b"\x08\x01" + sized(0x3A, sized(0x0A, b"\xff") + sized(0x12, b"x"))
    with pytest.raises(UnicodeDecodeError):
        speedups.protobuf_publish(varint(len(publish)) + publish, 0)


@many
@given(data=st.binary(min_size=1), offset=st.integers(0, 2**64 - 1), user=st.text("abc", min_size=1))
def test_a_push_is_written(speedups: Any, data: bytes, offset: int, user: str) -> None:
    info = CLASSES["ClientInfo"](user=user).SerializeToString()
    tags = sized(0x3A, sized(0x0A, b"a") + sized(0x12, b"b"))
    pub = {"data": data, "offset": offset, "info": {"user": user}, "tags": {"a": "b"}}
    same = CLASSES["Reply"](push={"channel": "room:1", "pub": pub}).SerializeToString()
    assert speedups.protobuf_push(sized(0x12, b"room:1"), data, info, offset, tags) == same
    bare = CLASSES["Reply"](push={"channel": "room:1", "pub": {"data": data}}).SerializeToString()
    assert speedups.protobuf_push(sized(0x12, b"room:1"), data, b"", 0, b"") == bare


@given(number=st.integers(0, 2**64 - 1))
def test_numbers(speedups: Any, number: int) -> None:
    assert read_varint(b"x" + varint(number) + b"y", 1) == (number, 1 + len(varint(number)))


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff" * 9 + b"\x02", b"\xff" * 10 + b"\x01"])
def test_what_is_no_number(speedups: Any, data: bytes) -> None:
    with pytest.raises(ValueError, match="no whole varint"):
        read_varint(data, 0)
