"""Frames of clients taken apart: whole or in pieces, the same; what is kept is bounded."""

import struct
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close

from flotilla.realtime.server.incoming_frames import (
    MAX_INFLATED,
    Message,
    Reader,
    Violation,
    can_be_sent,
    close_code,
)
from tests.raw_frames import BINARY, CLOSE, PING, TEXT, frame

MAX = 65536
RSV1 = 0x40


def deflated(payload: bytes) -> bytes:
    """As a client compresses a message."""
    stream = zlib.compressobj(wbits=-15)
    return (stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


def read(*chunks: bytes, most: int = MAX) -> list[Message]:
    """The messages in what came; nothing may be left incomplete."""
    reader, found = Reader(most), []
    for chunk in chunks:
        reader.feed(chunk)
        while (message := reader.next()) is not None:
            found.append(message)
    assert reader.idle
    return found


def violation(wire: bytes, most: int = MAX) -> int:
    """The code with which a stream is refused."""
    with pytest.raises(Violation) as refused:
        read(wire, most=most)
    assert refused.value.reason
    return refused.value.code


class TestReader:
    @pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536])
    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    def test_lengths_of_every_form(self, opcode: int, size: int) -> None:
        assert read(frame(opcode, b"x" * size)) == [Message(opcode, b"x" * size)]

    @given(st.lists(st.integers(0, 40), max_size=6))
    def test_pieces_of_any_size_give_the_same(self, cuts: list[int]) -> None:
        """Also a message in fragments with control frames between them."""
        wire = frame(TEXT, b"one", final=False) + frame(PING, b"p") + frame(0, b"", final=False) + frame(0, b"two")
        wire += frame(BINARY, b"") + frame(CLOSE, b"\x03\xe8")
        ends = [0, *sorted(min(cut, len(wire)) for cut in cuts), len(wire)]
        chunks = [wire[a:b] for a, b in pairwise(ends)]
        expected = [(PING, b"p"), (TEXT, b"onetwo"), (BINARY, b""), (CLOSE, b"\x03\xe8")]
        assert [(message.opcode, message.payload) for message in read(*chunks)] == expected

    def test_fragments_may_be_empty(self) -> None:
        empty = frame(0, final=False)
        assert read(frame(TEXT, final=False) + empty + frame(0)) == [Message(TEXT, b"")]
        assert read(frame(TEXT, final=False) + empty + frame(0, b"end")) == [Message(TEXT, b"end")]
        assert read(frame(TEXT, b"begin", final=False) + empty + frame(0)) == [Message(TEXT, b"begin")]

    def test_empty_fragments_without_end_keep_nothing(self) -> None:
        reader = Reader(MAX)
        reader.feed(frame(TEXT, b"a", final=False))
        for _ in range(10_000):
            reader.feed(frame(0, final=False))
            assert reader.next() is None
        assert reader.waiting == 1

    def test_a_message_in_one_byte_fragments_is_bounded_like_any_other(self) -> None:
        wire = frame(BINARY, b"a", final=False) + frame(0, b"a", final=False) * 299
        with pytest.raises(AssertionError):  # incomplete, but allowed
            read(wire, most=300)
        assert violation(wire + frame(0, b"a"), most=300) == 1009

    def test_what_is_too_big_is_refused_before_it_comes(self) -> None:
        assert violation(b"\x82\xfe" + struct.pack("!H", 301), most=300) == 1009
        assert violation(b"\x82\xff" + struct.pack("!Q", (1 << 63) - 1)) == 1009
        assert violation(frame(TEXT, b"x" * 200, final=False) + b"\x80\xe5", most=300) == 1009
        assert read(frame(PING, b"x" * 125), most=100)  # a control frame is no message

    @pytest.mark.parametrize(
        "wire",
        [
            frame(TEXT, b"a", bits=0x40),
            frame(PING, b"a", bits=0x10),
            *(frame(opcode) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
            frame(TEXT, b"a", masked=False),
            frame(CLOSE, b"", masked=False),
            frame(PING, b"a", final=False),
            frame(PING, b"a" * 126),
            frame(0, b"a"),
            frame(0, b"a", final=False),
            frame(TEXT, b"a", final=False) + frame(TEXT, b"a"),
            frame(TEXT, b"", final=False) + frame(BINARY, b"", final=False),
            b"\x81\xfe" + struct.pack("!H", 125),
            b"\x81\xff" + struct.pack("!Q", 65535),
            b"\x81\xff" + struct.pack("!Q", 1 << 63),
        ],
    )
    def test_what_is_against_the_rules_is_refused(self, wire: bytes) -> None:
        assert violation(wire) == 1002

    def test_what_came_before_a_violation_is_given(self) -> None:
        reader = Reader(MAX)
        reader.feed(frame(TEXT, b"good") + frame(3))
        assert reader.next() == Message(TEXT, b"good")
        with pytest.raises(Violation):
            reader.next()

    def test_nothing_is_kept_of_what_was_given(self) -> None:
        reader = Reader(MAX)
        for _ in range(1000):
            reader.feed(frame(BINARY, b"x" * 1000))
            assert reader.next() is not None
        assert (reader.waiting, reader.idle) == (0, True)


class TestCompressed:
    def reader(self, wire: bytes, most: int = MAX) -> Reader:
        """One that has agreed on compression and been fed."""
        reader = Reader(most, inflates=True)
        reader.feed(wire)
        return reader

    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    def test_a_message_is_inflated_whole_or_in_fragments(self, opcode: int) -> None:
        small, text = deflated(b"again " * 100), b"again " * 100
        assert self.reader(frame(opcode, small, bits=RSV1)).next() == Message(opcode, text)
        parts = frame(opcode, small[:1], final=False, bits=RSV1) + frame(0, b"", final=False) + frame(0, small[1:])
        reader = self.reader(parts + frame(opcode, b"plain"))
        assert [reader.next(), reader.next()] == [Message(opcode, text), Message(opcode, b"plain")]
        assert reader.inflated == len(text)
        assert reader.idle

    @pytest.mark.parametrize(
        ("wire", "code"),
        [
            (frame(PING, b"a", bits=RSV1), 1002),
            (frame(CLOSE, b"", bits=RSV1), 1002),
            (frame(TEXT, b"a", bits=0x20), 1002),
            (frame(TEXT, b"", final=False, bits=RSV1) + frame(0, b"", bits=RSV1), 1002),
            (frame(TEXT, b"a", final=False) + frame(0, b"", bits=RSV1), 1002),
            (frame(TEXT, b"\xff\xff", bits=RSV1), 1007),
            (frame(TEXT, deflated(b"x" * 301), bits=RSV1), 1009),
            (frame(TEXT, b"x" * 301, final=False, bits=RSV1), 1009),
        ],
    )
    def test_what_is_against_the_rules_is_refused(self, wire: bytes, code: int) -> None:
        reader = self.reader(wire, 300)
        with pytest.raises(Violation) as refused:
            while reader.next() is not None:
                pass
        assert refused.value.code == code

    def test_a_turn_ends_when_much_was_inflated(self) -> None:
        reader = self.reader(frame(TEXT, deflated(b"x" * MAX), bits=RSV1) * 10)
        count = 0
        while reader.next() is not None:
            count += 1
        assert (count, reader.full) == (MAX_INFLATED // MAX, True)
        reader.inflated = 0
        assert not reader.full
        assert reader.next() is not None


class TestCloseCodes:
    def test_codes_are_those_that_another_implementation_takes(self) -> None:
        def theirs(code: int) -> bool:
            try:
                return Close.parse(struct.pack("!H", code)).code == code
            except Exception:
                return False

        differing = [code for code in range(65536) if can_be_sent(code) != theirs(code)]
        assert not differing

    def test_a_close_without_a_code_is_1005(self) -> None:
        assert close_code(b"") == 1005

    @pytest.mark.parametrize(("payload", "code"), [(b"\x03", 1002), (b"\x03\xed", 1002), (b"\x03\xe8\xff", 1007)])
    def test_improper_ones_are_refused(self, payload: bytes, code: int) -> None:
        with pytest.raises(Violation) as refused:
            close_code(payload)
        assert refused.value.code == code
