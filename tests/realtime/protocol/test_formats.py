"""Formats: what is compressed, what is not, and that equal agreements share one format."""

import os
import zlib

from flotilla.realtime.protocol.encodings import JSON
from flotilla.realtime.protocol.formats import WEBSOCKET_JSON, WEBSOCKET_PROTOBUF, deflated
from flotilla.realtime.protocol.frames import Frame
from flotilla.realtime.protocol.protobuf.encoding import PROTOBUF

LONG = b'{"push":' + b'"again and again"' * 20 + b"}"


def inflated(wire: bytes) -> bytes:
    """The payload of a compressed text frame of less than 64 KiB."""
    assert wire[0] == 0xC1
    start = 4 if wire[1] == 126 else 2
    return zlib.decompressobj(-15).decompress(wire[start:] + b"\x00\x00\xff\xff")


def test_a_long_message_goes_compressed_and_keeps_its_payload() -> None:
    frame = deflated(JSON, 15, 100).frame((LONG, LONG))
    assert inflated(frame.wire) == frame.payload == LONG + b"\n" + LONG
    assert len(frame.wire) < len(LONG) / 4
    assert frame.text == frame.payload.decode()


def test_what_is_short_or_does_not_become_smaller_goes_as_it_is() -> None:
    dense = os.urandom(500)
    assert deflated(JSON, 15, len(LONG) + 1).frame((LONG,)).wire == Frame(LONG).wire
    assert deflated(JSON, 15, 1).frame((dense,)).wire == Frame(dense).wire
    assert deflated(JSON, 15, len(LONG)).frame((LONG,)).wire != Frame(LONG).wire


def test_a_ping_is_never_compressed() -> None:
    assert deflated(JSON, 15, 1).ping.wire == WEBSOCKET_JSON.ping.wire
    assert deflated(PROTOBUF, 15, 0).ping.wire == WEBSOCKET_PROTOBUF.ping.wire


def test_equal_agreements_have_one_format() -> None:
    assert deflated(JSON, 15, 100) is deflated(JSON, 15, 100)
    assert len({deflated(JSON, 15, 100), deflated(JSON, 10, 100), deflated(JSON, 15, 101)}) == 3


def test_what_is_left_of_a_compressed_frame_can_follow() -> None:
    frame = deflated(JSON, 15, 100).frame((LONG,))
    assert frame.wire[:3] + frame.rest(3).wire == frame.wire
