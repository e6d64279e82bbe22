"""Streams of frames of any kind, cut anywhere: reader and connection take from them what a plain reading finds."""

import asyncio
import struct

import pytest

from flotilla.realtime.server.budget import Allowance
from flotilla.realtime.server.connection import MAX_PER_TURN
from flotilla.realtime.server.incoming_frames import Reader, Violation, can_be_sent, whole_ping
from flotilla.speedups import first_text
from tests.fuzzing import MAX_SECONDS, Reading, cases, meaning, pieces, stream
from tests.raw_frames import BINARY, CLOSE, PING, PONG, TEXT
from tests.realtime.server.test_connection import Adopted
from tests.realtime.server.wires import Wire, parse

MAX = 1000
UNFINISHED = 131  # bytes of the longest control frame, which may come between the fragments of a message
pytestmark = pytest.mark.timeout(MAX_SECONDS)


@pytest.mark.parametrize("inflates", [False, True])
def test_the_reader_takes_what_a_plain_reading_finds(inflates: bool) -> None:
    """Whatever the pieces are, and however many frames it may take at a time; it never keeps more than a message."""
    for name, chance in cases(least=2_000 if inflates else 50_000):
        wire = stream(chance, inflates or chance.random() < 0.02)
        reader, found, violation = Reader(MAX, inflates), [], 0
        expected = meaning(wire, MAX, inflates)
        try:
            for piece in pieces(chance, wire):
                reader.feed(piece)
                full = True
                while full:
                    reader.left = turn = chance.choice((1, 2, 64))
                    reader.inflated = 0
                    while (message := reader.next()) is not None:
                        found.append((int(message.opcode), message.payload))
                    full = reader.left <= 0
                    assert 0 <= reader.left <= turn, name
                assert reader.waiting <= MAX + UNFINISHED, name
        except Violation as refused:
            violation = refused.code
        assert (found, violation) == (expected.messages, expected.violation), name
        assert violation or reader.idle is expected.complete, name
        assert all(len(payload) <= MAX for _, payload in found), name
        check_short_cuts(name, wire, expected)


def check_short_cuts(name: str, wire: bytes, expected: Reading) -> None:
    """What is taken without a reader is what it would give, and nothing else is taken."""
    single = len(expected.messages) == 1 and expected.complete
    if (found := first_text(wire, 0, MAX)) is not None:
        assert expected.messages[0] == (TEXT, found[0]), name
    if (payload := whole_ping(wire)) is not None:
        assert expected.messages in ([(PING, payload)], [(PONG, payload)]), name
    elif single and expected.messages[0][0] in (PING, PONG):
        pytest.fail(name)


def outcome(reading: Reading) -> tuple[list[str | bytes], list[tuple[int, bytes]], int | None]:
    """What an application gets, what the client gets, and the code of the end if there is one."""
    messages: list[str | bytes] = []
    answers: list[tuple[int, bytes]] = []
    for opcode, payload in reading.messages:
        if opcode == TEXT:
            try:
                messages.append(payload.decode())
            except UnicodeDecodeError:
                return messages, answers, 1007
        elif opcode == BINARY:
            messages.append(payload)
        elif opcode == PING:
            answers.append((PONG, payload))
        elif opcode == CLOSE:
            return messages, answers, code_of(payload)
    return messages, answers, reading.violation or None


def code_of(payload: bytes) -> int:
    """What a close says, or with what it is refused."""
    if not payload:
        return 1005
    (code,) = struct.unpack("!H", payload[:2]) if len(payload) > 1 else (0,)
    if not can_be_sent(code):
        return 1002
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        return 1007
    return int(code)


@pytest.mark.asyncio
@pytest.mark.parametrize("inflates", [False, True])
async def test_a_connection_does_what_they_mean(inflates: bool) -> None:
    """It hands over, answers and closes, in turns, and keeps nothing when nothing is incomplete."""
    for name, chance in cases(least=200):
        wire = Wire()
        try:
            adopted = await Adopted(wire, allowance=Allowance(10**6, 10**9), inflates=inflates).opened()
            data = stream(chance, inflates)
            reading = meaning(data, MAX, inflates)
            messages, answers, code = outcome(reading)
            got = b""
            for piece in pieces(chance, data):
                before = len(adopted.receiver.messages)
                wire.push(piece)
                assert len(adopted.receiver.messages) <= before + MAX_PER_TURN, name
                got += wire.drain()  # or pings that come behind much that is unread would need no answer
            connection = adopted.connection
            while connection._behind is not None:
                await asyncio.sleep(0)
                got += wire.drain()
            assert adopted.receiver.messages == messages, name
            assert adopted.receiver.codes == ([] if code is None else [code]), name
            sent = parse(got)
            assert [one for one in sent if one[0] == PONG] == answers, name
            assert sum(opcode == CLOSE for opcode, _ in sent) == (code is not None), name
            if code is None and reading.complete:
                assert connection._reader is None, name
        finally:
            wire.end()
