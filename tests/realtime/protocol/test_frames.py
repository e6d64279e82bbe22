"""Frames against another implementation of RFC 6455."""

from collections.abc import Generator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame as ParsedFrame
from websockets.frames import Opcode
from websockets.streams import StreamReader

from flotilla.realtime.protocol.frames import Frame


def parse(wire: bytes) -> ParsedFrame:
    """The one frame in `wire`, as `websockets` reads it; nothing may be left."""
    reader = StreamReader()
    reader.feed_data(wire)
    reader.feed_eof()
    steps: Generator[None, None, ParsedFrame] = ParsedFrame.parse(reader.read_exact, mask=False)
    try:
        next(steps)
    except StopIteration as done:
        frame: ParsedFrame = done.value
    else:
        raise AssertionError("the frame is longer than what was written")
    assert bytes(reader.buffer) == b""
    return frame


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 128, 65535, 65536, 65537, 1 << 20])
def test_frames_of_every_length_are_read_back(length: int) -> None:
    """At and around each boundary of the length field."""
    frame = parse(Frame(b"x" * length).wire)
    assert (frame.opcode, frame.fin, len(frame.data)) == (Opcode.TEXT, True, length)
    assert not (frame.rsv1 or frame.rsv2 or frame.rsv3)


@given(st.text())
def test_the_payload_is_carried_unchanged(text: str) -> None:
    """As bytes on the wire and as text for servers that frame themselves."""
    frame = Frame(text.encode())
    assert parse(frame.wire).data == text.encode()
    assert frame.text == text
    assert frame.text is frame.text


def test_the_rest_of_a_frame_is_what_was_not_sent() -> None:
    frame = Frame(b"hello")
    assert frame.rest(3).wire == frame.wire[3:]
    assert frame.rest(3).text == "hello"
    assert parse(frame.wire).data == b"hello"
