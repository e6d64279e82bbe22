"""Frames in and out, against the plainest reading of RFC 6455 and against another implementation of it."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from tests.both_implementations import implementations
from tests.raw_frames import BINARY, MASK, PING, TEXT, frame
from tests.realtime.protocol.test_frames import parse

MAX = 1000
pytestmark = pytest.mark.parametrize("speedups", implementations())
many = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def taken(speedups: Any, wire: bytes, most: int) -> bytes | None:
    """The text frame that is all of `wire`, wherever it begins and whatever follows."""
    alone, among = speedups.first_text(wire, 0, most), speedups.first_text(b"before" + wire + b"behind", 6, most)
    if alone is None:
        return None
    assert alone[1] == len(wire)
    assert among == (alone[0], 6 + len(wire))
    payload: bytes = alone[0]
    return payload


@many
@given(payload=st.binary(max_size=40), mask=st.binary(min_size=4, max_size=4))
def test_a_mask_is_put_on_and_taken_off(speedups: Any, payload: bytes, mask: bytes) -> None:
    masked = speedups.unmask(bytearray(payload), bytearray(mask))
    assert masked == bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    assert type(masked) is bytes
    assert speedups.unmask(masked, mask) == payload


@many
@given(text=st.text(max_size=200))
def test_what_another_implementation_writes_is_read(speedups: Any, text: str) -> None:
    wire = Frame(Opcode.TEXT, text.encode()).serialize(mask=True)
    assert taken(speedups, wire, MAX) == text.encode()


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 125, 126, 127, 999, 1000])
def test_a_whole_text_is_taken(speedups: Any, size: int) -> None:
    assert taken(speedups, frame(TEXT, b"x" * size), MAX) == b"x" * size
    assert taken(speedups, frame(TEXT, b"x" * size), size) == b"x" * size
    assert size == 0 or taken(speedups, frame(TEXT, b"x" * size), size - 1) is None


def test_a_text_of_any_length_is_taken(speedups: Any) -> None:
    for size in (65535, 65536, 200_000):
        assert taken(speedups, frame(TEXT, b"x" * size), size) == b"x" * size


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"\x81",
        b"\x81\x80",
        frame(TEXT, b"abc")[:-1],
        frame(BINARY, b"abc"),
        frame(PING, b"abc"),
        frame(TEXT, b"abc", masked=False),
        frame(TEXT, b"abc", final=False),
        frame(TEXT, b"abc", bits=0x40),
        b"\x81\xfe\x00\x05" + MASK + b"abcde",
        b"\x81\xff" + (200).to_bytes(8, "big") + MASK + b"x" * 200,
        b"\x81\xff" + (2**63).to_bytes(8, "big") + MASK,
        b"\x81\xff" + (2**64 - 1).to_bytes(8, "big") + MASK,
    ],
)
def test_nothing_else_is_a_whole_text(speedups: Any, wire: bytes) -> None:
    assert taken(speedups, wire, 2**63 - 1) is None


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70000])
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING])
def test_a_frame_is_read_as_what_was_written(speedups: Any, opcode: int, size: int) -> None:
    """With the shortest head there is."""
    if opcode == PING and size > 125:
        return
    wire = speedups.framed(opcode, b"x" * size)
    read = parse(wire)
    assert (read.opcode, read.data, read.fin) == (opcode, b"x" * size, True)
    assert len(wire) - size == (2 if size < 126 else 4 if size < 65536 else 10)


def test_a_publication_is_pushed_with_its_offset_where_it_has_one(speedups: Any) -> None:
    body = b'{"data":1}'
    assert speedups.publication_push(b'"a"', body, 0) == b'{"push":{"channel":"a","pub":{"data":1}}}'
    for offset in (1, 9, 10, 12345, 2**63 - 1, 2**64 - 1):
        pushed = b'{"push":{"channel":"a","pub":{"data":1,"offset":%d}}}' % offset
        assert speedups.publication_push(b'"a"', body, offset) == pushed
