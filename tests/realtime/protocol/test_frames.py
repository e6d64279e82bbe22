"""Frames against another implementation of RFC 6455."""

from collections.abc import Generator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame as ParsedFrame
from websockets.frames import Opcode
from websockets.streams import StreamReader

from flotilla.realtime.protocol.frames import TEXT, Frame, frame_header


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


@given(st.integers(0, 2**63 - 1))
def test_a_header_uses_the_shortest_form(length: int) -> None:
    """RFC 6455 asks for the minimal number of bytes."""
    assert len(frame_header(TEXT, length)) == (2 if length < 126 else 4 if length < 65536 else 10)
    assert frame_header(TEXT, length)[0] == 0x81
