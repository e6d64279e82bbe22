"""A connection over a real transport: order, partial writes, bounds, and its end whoever makes it."""

import asyncio
import gc
import sys
import tracemalloc
import weakref
import zlib
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
import pytest_asyncio
from twisted.internet import main

from flotilla.realtime.protocol.frames import Frame, close_frame, send_each
from flotilla.realtime.server import connection as module
from flotilla.realtime.server.budget import Allowance, Bounds
from flotilla.realtime.server.connection import EXTENSION, Connection, State
from flotilla.realtime.server.outgoing import MAX_SOON
from flotilla.realtime.server.traffic import traffic
from tests.raw_frames import BINARY, CLOSE, PING, PONG, TEXT, frame
from tests.realtime.server.wires import Receiver, Server, Wire, parse, request
from tests.waiting import until

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("implementation")]

BOUND = 50_000
BOUNDS = Bounds(65536, Allowance(10_000, 10_000_000))  # of who adopts


class Adopted:
    """An open connection that somebody has adopted, and its wire."""

    def __init__(
        self, wire: Wire, rest: bytes = b"", allowance: Allowance | None = None, inflates: bool = False
    ) -> None:
        self.wire = wire
        self.receiver = Receiver()
        self.server = Server(self._application)
        self.bounds = Bounds(1000, allowance or Allowance(10_000, 10_000_000))
        self.inflates = inflates
        self.accepting = asyncio.Event()
        self.accepting.set()
        self.connection = Connection(self.server, wire.transport, request(rest), {})
        wire.transport.protocol = self.connection

    async def _application(self, scope: Any, receive: Any, send: Any) -> None:
        await self.accepting.wait()
        await send({"type": "websocket.accept"})
        scope["extensions"][EXTENSION].adopt(self.receiver, self.bounds, self.inflates)

    async def opened(self) -> "Adopted":
        await until(lambda: self.connection.is_open, "it is open")
        assert self.wire.read().startswith(b"HTTP/1.1 101 ")
        return self


@pytest_asyncio.fixture
async def wire() -> AsyncIterator[Wire]:
    made = Wire()
    yield made
    made.end()


@pytest_asyncio.fixture
async def adopted(wire: Wire) -> Adopted:
    return await Adopted(wire).opened()


def numbered(number: int, size: int = 10) -> Frame:
    return Frame(b"%d:" % number + b"x" * size)


async def test_bytes_that_come_are_counted_as_they_come(adopted: Adopted) -> None:
    """Whole messages, parts of one, pings: as they were on the wire."""
    before = traffic.websocket_in
    came = frame(TEXT, b"hello") + frame(PING, b"?")
    adopted.wire.push(frame(TEXT, b"whole"))
    adopted.wire.push(came[:3])
    adopted.wire.push(came[3:])
    assert adopted.receiver.messages == ["whole", "hello"]
    assert traffic.websocket_in - before == len(frame(TEXT, b"whole")) + len(came)


class TestOut:
    async def test_a_frame_is_written_at_once(self, adopted: Adopted) -> None:
        """Without the reactor's help, byte for byte."""
        adopted.connection.send(numbered(1))
        assert adopted.wire.read() == numbered(1).wire
        assert not adopted.wire.reactor.writers

    async def test_what_may_leave_soon_leaves_at_the_end_of_the_turn(self, adopted: Adopted) -> None:
        """All of it at once, in order; nothing is sent later, however often it was asked for."""
        for number in range(3):
            adopted.connection.send_soon(numbered(number))
        assert adopted.wire.read() == b""
        assert adopted.connection.unsent == sum(len(numbered(number).wire) for number in range(3))
        await asyncio.sleep(0)
        assert adopted.wire.read() == b"".join(numbered(number).wire for number in range(3))
        assert adopted.connection.unsent == 0
        await asyncio.sleep(0)
        assert adopted.wire.read() == b""

    async def test_what_may_leave_soon_leaves_with_what_is_sent_next(
        self, adopted: Adopted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In one write, before it."""
        writes: list[bytes] = []
        monkeypatch.setattr(adopted.connection, "_direct", lambda wire: writes.append(wire) or len(wire))
        adopted.connection.send_soon(numbered(1))
        adopted.connection.send(numbered(2))
        adopted.connection.send(numbered(3))
        await asyncio.sleep(0)
        assert writes == [numbered(1).wire + numbered(2).wire, numbered(3).wire]

    async def test_what_may_leave_soon_leaves_before_a_close(self, adopted: Adopted) -> None:
        """It was accepted while the connection was open; what comes later was not."""
        adopted.connection.send_soon(numbered(1))
        adopted.connection.close(3000, "over")
        adopted.connection.send_soon(numbered(2))
        await asyncio.sleep(0)
        assert adopted.wire.read() == numbered(1).wire + close_frame(3000, "over")

    async def test_what_may_leave_soon_is_bounded(self, adopted: Adopted) -> None:
        """Much of it leaves before the turn is over, and counts against a client that does not read."""
        connection, slow = adopted.connection, list[int]()
        connection.max_unsent, connection.on_slow = BOUND, lambda: slow.append(connection.unsent)
        while not slow:
            assert connection.unsent <= BOUND + MAX_SOON + 1100
            connection.send_soon(numbered(1, 1000))
        assert adopted.wire.read()

    @pytest.mark.parametrize("size", [10, 3000, 30_000, 200_000])
    async def test_partial_writes_go_on_in_order(self, adopted: Adopted, size: int) -> None:
        """The kernel takes a part; the rest and all that follows come behind it, unchanged."""
        connection, wire = adopted.connection, adopted.wire
        frames = [numbered(number, size) for number in range(40)]
        found = b""
        for number, one in enumerate(frames):
            connection.send(one)
            if number % 7 == 3 and wire.reactor.writers:
                wire.transport.doWrite()
            if number % 5 == 2:
                found += wire.read()
        assert found + wire.drain() == b"".join(one.wire for one in frames)
        assert connection.unsent == 0
        connection.send(numbered(99))
        assert wire.read() == numbered(99).wire

    @pytest.mark.parametrize("size", [10, 3000, 30_000])
    async def test_what_goes_to_many_at_once_keeps_its_place_among_the_rest(self, adopted: Adopted, size: int) -> None:
        """Whether the kernel takes it, a part of it, or nothing, before and behind frames that were sent alone."""
        connection, wire, found = adopted.connection, adopted.wire, b""
        frames = [numbered(number, size) for number in range(40)]
        for number, one in enumerate(frames):
            if number % 3:
                send_each([connection], one)
            else:
                connection.send(one)
            if number % 7 == 3 and wire.reactor.writers:
                wire.transport.doWrite()
            if number % 5 == 2:
                found += wire.read()
        assert found + wire.drain() == b"".join(one.wire for one in frames)

    async def test_it_has_a_descriptor_while_nothing_waits(self, adopted: Adopted) -> None:
        """From the first frame to the end; nobody may write where something waits, nor behind the close."""
        connection = adopted.connection
        assert connection.descriptor == adopted.wire.transport.fileno()
        connection.send(numbered(1, 200_000))
        assert connection.descriptor == -1
        adopted.wire.drain()
        connection.send(numbered(2))
        assert connection.descriptor == adopted.wire.transport.fileno()
        connection.close(1000)
        assert connection.descriptor == -1

    async def test_a_connection_that_is_lost_has_no_descriptor(self, adopted: Adopted) -> None:
        """Its number is soon another one's."""
        adopted.wire.hang_up()
        assert adopted.connection.descriptor == -1
        send_each([adopted.connection], numbered(1))

    @pytest.mark.skipif(sys.platform != "linux", reason="others do not tell what the kernel holds")
    async def test_what_the_kernel_holds_is_counted_as_waiting(self, adopted: Adopted) -> None:
        """Until the client has read it; a connection that is lost has nothing waiting."""
        adopted.connection.send(numbered(1, 1000))
        assert adopted.connection.unsent == 0
        assert adopted.connection.waiting >= 1000
        adopted.wire.read()
        assert adopted.connection.waiting == 0
        adopted.connection.send(numbered(1, 1000))
        adopted.wire.hang_up()
        assert adopted.connection.waiting == 0

    async def test_what_is_unsent_is_counted(self, adopted: Adopted) -> None:
        """What the client has not got and the kernel has not taken."""
        for number in range(30):
            adopted.connection.send(numbered(number, 1000))
        unsent = adopted.connection.unsent
        assert unsent > 0
        assert len(adopted.wire.read()) == sum(len(numbered(n, 1000).wire) for n in range(30)) - unsent
        adopted.wire.drain()
        assert adopted.connection.unsent == 0

    async def test_a_slow_client_is_told_of_once_and_bounded(self, adopted: Adopted) -> None:
        """When more than the bound is unsent, not earlier."""
        connection = adopted.connection
        slow: list[int] = []
        connection.max_unsent, connection.on_slow = BOUND, lambda: slow.append(connection.unsent)
        while not slow:
            assert connection.unsent <= BOUND
            connection.send(numbered(1, 1000))
        for _ in range(10):
            connection.send(numbered(1, 1000))
        (unsent,) = slow
        assert BOUND < unsent <= BOUND + 1100

    async def test_a_client_that_reads_is_never_slow(self, adopted: Adopted) -> None:
        """However much it gets."""
        slow: list[int] = []
        adopted.connection.max_unsent, adopted.connection.on_slow = BOUND, lambda: slow.append(1)
        for number in range(500):
            adopted.connection.send(numbered(number, 1000))
            if number % 10 == 0:
                adopted.wire.drain()
        assert not slow

    async def test_a_close_comes_after_what_was_sent(self, adopted: Adopted) -> None:
        """Also behind what waits; nothing is sent after it, and slowness no longer counts."""
        connection = adopted.connection
        connection.max_unsent, connection.on_slow = BOUND, lambda: pytest.fail("slow after the close")
        for number in range(20):
            connection.send(numbered(number, 1000))
        connection.close(3001, "shutdown")
        for number in range(100):
            connection.send(numbered(number, 1000))
        connection.close(3503, "again")
        sent = b"".join(numbered(number, 1000).wire for number in range(20))
        assert adopted.wire.drain() == sent + close_frame(3001, "shutdown")

    async def test_a_slow_client_may_be_closed_for_it(self, adopted: Adopted) -> None:
        """Even by the answer to its own close: one close frame goes out."""
        connection = adopted.connection
        connection.max_unsent, connection.on_slow = 4000, lambda: connection.close(3008, "slow")
        connection.send(numbered(1, 3900))
        connection.send(numbered(2, 3900))
        adopted.wire.push(frame(CLOSE, b"\x03\xe8"))
        assert [opcode for opcode, _ in parse(adopted.wire.drain())].count(CLOSE) == 1

    async def test_sending_over_a_lost_connection_is_no_error(self, adopted: Adopted) -> None:
        """The reactor hears of it in the ordinary way."""
        adopted.wire.theirs.close()
        for number in range(5):
            adopted.connection.send(numbered(number))
        assert adopted.wire.reactor.writers
        assert adopted.wire.transport.doWrite() is main.CONNECTION_LOST

    async def test_nothing_happens_after_the_connection_was_lost(self, adopted: Adopted) -> None:
        """Whatever is called."""
        adopted.wire.hang_up()
        adopted.connection.send(numbered(1))
        adopted.connection.close(3001, "late")
        adopted.connection.accept(b"key", None, [])
        adopted.connection.reject(b"no")
        assert adopted.connection._state is State.CLOSED
        assert adopted.connection._closing is None
        assert adopted.receiver.codes == [module.ABNORMAL]


class TestIn:
    async def test_messages_come_whole_and_in_order(self, adopted: Adopted) -> None:
        """Whatever the pieces are in which they arrive."""
        wire = frame(TEXT, "é".encode()) + frame(BINARY, b"\0") + frame(TEXT, b"a", final=False) + frame(0, b"b")
        adopted.wire.push(frame(TEXT, b"one"))
        for position in range(len(wire)):
            adopted.wire.push(wire[position : position + 1])
        adopted.wire.push(frame(TEXT, b"two"))
        assert adopted.receiver.messages == ["one", "é", b"\0", "ab", "two"]
        assert adopted.connection._reader is None, "nothing is kept when nothing is incomplete"

    async def test_pings_are_answered_with_what_they_carry(self, adopted: Adopted) -> None:
        adopted.wire.push(frame(PING, b"x" * 125) + frame(10, b"unasked") + frame(PING))
        assert parse(adopted.wire.read()) == [(10, b"x" * 125), (10, b"")]

    async def test_pings_of_a_client_that_does_not_read_are_not_piled_up(self, adopted: Adopted) -> None:
        for _ in range(2000):
            adopted.wire.push(frame(PING, b"x" * 125))
        assert adopted.connection.unsent < 2000

    async def test_what_was_sent_with_the_handshake_is_read_after_it(self, wire: Wire) -> None:
        adopted = Adopted(wire, rest=frame(TEXT, b"one") + frame(TEXT, b"two")[:3])
        adopted.accepting.clear()
        adopted.wire.push(frame(TEXT, b"two")[3:] + frame(TEXT, b"three"))
        adopted.accepting.set()
        await adopted.opened()
        adopted.wire.push(frame(TEXT, b"four"))
        await until(lambda: len(adopted.receiver.messages) == 4, "all were read")
        assert adopted.receiver.messages == ["one", "two", "three", "four"]

    async def test_what_is_sent_before_the_handshake_is_answered_is_bounded(self, wire: Wire) -> None:
        adopted = Adopted(wire)
        adopted.accepting.clear()
        wire.push(b"x" * (module.MAX_EARLY - 1))
        wire.push(b"xx")
        await until(lambda: not adopted.server.open, "it was cut off")
        adopted.accepting.set()
        await until(lambda: adopted.receiver.codes, "its receiver was told")
        assert adopted.receiver.codes == [module.ABNORMAL]
        assert not adopted.connection.is_open

    @pytest.mark.parametrize(
        ("wire_data", "code"),
        [
            (frame(TEXT, b"\xff"), 1007),
            (frame(TEXT, b"\xff", final=False) + frame(0), 1007),
            (frame(3), 1002),
            (frame(TEXT, b"a", masked=False), 1002),
            (frame(CLOSE, b"\x03"), 1002),
            (frame(CLOSE, b"\x03\xe8\xff"), 1007),
            (frame(TEXT, b"x" * 1001), 1009),
        ],
    )
    async def test_a_violation_ends_it_and_nothing_more_is_read(
        self, adopted: Adopted, wire_data: bytes, code: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO", "flotilla.realtime.connection")
        adopted.wire.push(frame(TEXT, b"good") + wire_data + frame(TEXT, b"bad"))
        for _ in range(100):
            adopted.wire.push(b"\xff" * 10_000)
        assert adopted.receiver.messages == ["good"]
        assert adopted.receiver.codes == [code]
        ((opcode, payload),) = parse(adopted.wire.read())
        assert (opcode, int.from_bytes(payload[:2], "big")) == (CLOSE, code)
        assert payload[2:], "it says why"
        assert adopted.connection._reader is None, "what comes then is not even kept"
        assert len(caplog.records) == 1

    async def test_reading_can_be_paused(self, adopted: Adopted) -> None:
        adopted.connection.pause(True)
        assert not adopted.wire.is_reading
        adopted.connection.pause(False)
        assert adopted.wire.is_reading
        adopted.connection.pause(True)
        adopted.connection.close(3001)
        assert adopted.wire.is_reading, "its answer is waited for"


FLOODS = {
    "pings": frame(PING),
    "pongs": frame(PONG, b"x" * 125),
    "empty messages": frame(TEXT),
    "empty binaries": frame(BINARY),
    "messages of a byte": frame(TEXT, b"x"),
    "messages in two": frame(TEXT, b"x", final=False) + frame(0, b"x"),
    "empty fragments": frame(0, final=False),
    "fragments": frame(0, b"x", final=False),
}


class TestTurns:
    """How much is handled before others have their turn, and how much is kept meanwhile."""

    async def test_one_reading_is_handled_in_several_turns(self, adopted: Adopted) -> None:
        """In order, without reading more before it is done; what comes all the same waits behind it."""
        count = 10 * module.MAX_PER_TURN
        adopted.wire.push(b"".join(frame(TEXT, b"%d" % number) for number in range(count)))
        assert len(adopted.receiver.messages) == module.MAX_PER_TURN
        assert not adopted.wire.is_reading
        adopted.wire.push(frame(TEXT, b"last"))
        seen = [len(adopted.receiver.messages)]
        while len(adopted.receiver.messages) <= count:
            await asyncio.sleep(0)
            seen.append(len(adopted.receiver.messages))
        assert max(b - a for a, b in pairwise(seen)) <= module.MAX_PER_TURN
        assert adopted.receiver.messages == [*map(str, range(count)), "last"]
        await until(lambda: adopted.wire.is_reading, "it reads on")
        assert adopted.connection._reader is None

    @pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
    async def test_no_turn_handles_more_than_its_worth(self, adopted: Adopted, flood: bytes) -> None:
        """Whatever the frames are: also those that give no message."""
        if flood[0] == 0:
            adopted.wire.push(frame(TEXT, final=False))
        adopted.wire.push(flood * 500)
        assert not adopted.wire.is_reading
        reader = adopted.connection._reader
        assert reader is not None
        assert reader.waiting >= len(flood) * (500 - 1 - module.MAX_PER_TURN)
        await until(lambda: adopted.wire.is_reading, "all was handled")

    async def test_messages_within_a_message_count_for_the_turn(self, adopted: Adopted) -> None:
        adopted.receiver.more = module.MAX_PER_TURN
        adopted.wire.push(frame(TEXT, b"many") * 4)
        assert len(adopted.receiver.messages) == 1
        await until(lambda: len(adopted.receiver.messages) == 4, "the others had their turns")

    async def test_pings_of_one_turn_are_answered_together_and_in_order(
        self, adopted: Adopted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        writes: list[bytes] = []
        write = adopted.connection._direct
        assert write is not None
        monkeypatch.setattr(adopted.connection, "_direct", lambda data: writes.append(data) or write(data))
        pings = [b"%d" % number for number in range(30)]
        adopted.wire.push(b"".join(frame(PING, ping) for ping in pings))
        assert parse(adopted.wire.read()) == [(PONG, ping) for ping in pings]
        assert len(writes) == 1

    async def test_what_fragments_keep_is_what_they_carry(self, adopted: Adopted) -> None:
        """One buffer, and not an object for each."""
        adopted.wire.push(frame(TEXT, b"x", final=False))
        tracemalloc.start()
        try:
            for _ in range(99):
                adopted.wire.push(frame(0, b"x" * 10, final=False))
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert adopted.connection._reader is not None
        assert adopted.connection._reader.waiting == 991
        assert kept < 5000
        adopted.wire.push(frame(0, b"x" * 10, final=False))
        assert adopted.receiver.codes == [1009]

    async def test_what_comes_before_the_handshake_is_answered_is_bounded_whatever_a_message_may_have(
        self, wire: Wire
    ) -> None:
        adopted = Adopted(wire)
        adopted.connection._most = 10**9
        adopted.accepting.clear()
        for _ in range(module.MAX_EARLY // 1000 + 1):
            wire.push(b"x" * 1000)
        await until(lambda: not adopted.server.open, "it was cut off")
        adopted.accepting.set()

    async def test_a_connection_that_is_lost_in_the_middle_keeps_nothing(self, adopted: Adopted) -> None:
        adopted.wire.push(frame(TEXT, b"x") * 500)
        adopted.wire.hang_up()
        assert adopted.connection._reader is None
        await asyncio.sleep(0)
        assert len(adopted.receiver.messages) == module.MAX_PER_TURN
        assert adopted.receiver.codes == [module.ABNORMAL]

    async def test_a_close_behind_many_messages_comes_after_them(self, adopted: Adopted) -> None:
        adopted.wire.push(frame(TEXT, b"x") * 500 + frame(CLOSE, b"\x03\xe8") + frame(TEXT, b"late"))
        await until(lambda: adopted.receiver.codes, "it is over")
        assert adopted.receiver.messages == ["x"] * 500
        assert adopted.receiver.codes == [1000]

    async def test_a_close_of_ours_ends_the_handling(self, adopted: Adopted) -> None:
        """What is left is looked through for the client's answer alone."""
        adopted.wire.push(frame(TEXT, b"x") * 500 + frame(CLOSE, b"\x0b\xb9"))
        adopted.connection.close(3001, "shutdown")
        await until(lambda: adopted.receiver.codes, "the answer was found")
        assert len(adopted.receiver.messages) == module.MAX_PER_TURN
        assert adopted.receiver.codes == [3001]


class TestBudget:
    """More than a connection may send ends it."""

    @pytest.mark.parametrize("alone", [True, False], ids=["one by one", "together"])
    @pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
    async def test_a_flood_ends_with_1008(self, wire: Wire, flood: bytes, alone: bool) -> None:
        """Unless the receiver has closed it in its own way, and nothing that comes then is read."""
        adopted = await Adopted(wire, allowance=Allowance(300, 10**9)).opened()
        if flood[0] == 0:
            wire.push(frame(TEXT, final=False))
        for _ in range(1000 if alone else 1):
            wire.push(flood if alone else flood * 1000)
            wire.read()
        await until(lambda: adopted.receiver.codes, "it was closed")
        assert adopted.receiver.codes == [1008]
        assert adopted.receiver.overruns == 1
        assert len(adopted.receiver.messages) <= 600 + module.MAX_PER_TURN
        wire.push(b"\xff" * 10_000)
        assert adopted.connection._reader is None
        assert wire.is_reading, "what still comes is thrown away, so that the close can be seen"

    async def test_too_many_bytes_are_a_flood_too(self, wire: Wire) -> None:
        adopted = await Adopted(wire, allowance=Allowance(10**9, 5000)).opened()
        for _ in range(30):
            wire.push(frame(TEXT, b"x" * 900))
        assert adopted.receiver.codes == [1008]

    async def test_bytes_that_never_become_a_frame_count(self, wire: Wire) -> None:
        """Each piece is work, however little is in it."""
        adopted = await Adopted(wire, allowance=Allowance(300, 10**9)).opened()
        wire.push(frame(TEXT, b"x" * 900)[:20])
        for _ in range(700):
            wire.push(b"y")
        assert adopted.receiver.codes == [1008]

    async def test_messages_within_a_message_count(self, wire: Wire) -> None:
        adopted = await Adopted(wire, allowance=Allowance(300, 10**9)).opened()
        adopted.receiver.more = 99
        for _ in range(7):
            wire.push(frame(TEXT, b"a hundred"))
        assert adopted.receiver.codes == [1008]

    async def test_a_receiver_closes_in_its_own_way(self, wire: Wire) -> None:
        adopted = await Adopted(wire, allowance=Allowance(300, 10**9)).opened()
        adopted.receiver.on_overrun = lambda: adopted.connection.close(3013, "too many requests")
        for _ in range(700):
            wire.push(frame(PONG))
        assert [opcode for opcode, _ in parse(wire.read())] == [CLOSE]
        assert adopted.receiver.overruns == 1

    async def test_a_flood_after_our_close_is_not_even_read(self, wire: Wire) -> None:
        adopted = await Adopted(wire, allowance=Allowance(300, 10**9)).opened()
        adopted.connection.close(3001, "shutdown")
        for _ in range(700):
            wire.push(frame(PONG))
        assert adopted.connection._state is State.FAILED
        assert adopted.receiver.codes == [1008]

    async def test_a_flood_before_the_handshake_is_answered_is_cut_off(self, wire: Wire) -> None:
        adopted = Adopted(wire)
        adopted.accepting.clear()
        for _ in range(module.MAX_EARLY + 1):
            wire.push(b"y")
        await until(lambda: not adopted.server.open, "it was cut off")
        adopted.accepting.set()


class TestEnd:
    @pytest.mark.parametrize(("payload", "code"), [(b"", 1005), (b"\x03\xe8bye", 1000), (b"\x0b\xb8", 3000)])
    async def test_a_close_is_answered_with_its_code(self, adopted: Adopted, payload: bytes, code: int) -> None:
        adopted.wire.push(frame(CLOSE, payload) + frame(TEXT, b"after"))
        assert parse(adopted.wire.drain()) == [(CLOSE, payload[:2])]
        assert (adopted.receiver.messages, adopted.receiver.codes) == ([], [code])
        assert not adopted.server.open
        assert adopted.connection._closing is None

    async def test_our_close_is_over_with_its_answer(self, adopted: Adopted) -> None:
        adopted.connection.close(3001, "shutdown")
        adopted.wire.push(frame(TEXT, b"crossing") + frame(CLOSE, b"\x0b\xb9"))
        adopted.wire.drain()
        assert not adopted.server.open
        assert (adopted.receiver.messages, adopted.receiver.codes) == ([], [3001])

    async def test_a_client_that_does_not_answer_is_cut_off(
        self, adopted: Adopted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "CLOSE_WITHIN", 0.01)
        adopted.connection.close(3001, "shutdown")
        await until(lambda: not adopted.server.open, "it was cut off")
        assert adopted.receiver.codes == [module.ABNORMAL]

    async def test_so_is_one_that_does_not_take_what_is_left(
        self, adopted: Adopted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It has said good-bye itself, but never reads."""
        monkeypatch.setattr(module, "CLOSE_WITHIN", 0.01)
        adopted.connection.send(numbered(1, 100_000))
        adopted.wire.push(frame(CLOSE, b"\x03\xe8"))
        await until(lambda: not adopted.server.open, "it was cut off")
        assert adopted.receiver.codes == [1000]

    async def test_a_client_that_went_away_is_told_of_once(self, adopted: Adopted) -> None:
        adopted.wire.hang_up()
        assert adopted.receiver.codes == [module.ABNORMAL]
        assert not adopted.server.open

    async def test_nothing_is_kept_of_it(self, wire: Wire) -> None:
        adopted = await Adopted(wire).opened()
        wire.push(frame(TEXT, b"incomplete")[:5])
        wire.hang_up()
        kept = weakref.ref(wire.transport)
        wire.transport = adopted.connection = None  # type: ignore[assignment]
        gc.collect()
        assert kept() is None
        assert not adopted.server.open

    async def test_it_is_small(self, adopted: Adopted) -> None:
        """Every connection there is has one of these."""
        assert not hasattr(adopted.connection, "__dict__")
        assert (adopted.connection._reader, adopted.connection._asgi, adopted.connection._closing) == (None,) * 3


class TestAdoption:
    async def test_what_the_application_has_not_received_goes_to_the_receiver(self, wire: Wire) -> None:
        """Messages, and that it is over; and what is paused goes on."""
        adopt, receiver = asyncio.Event(), Receiver()

        async def application(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "websocket.accept"})
            await adopt.wait()
            scope["extensions"][EXTENSION].adopt(receiver, BOUNDS)

        server = Server(application)
        wire.transport.protocol = connection = Connection(server, wire.transport, request(), {})
        await until(lambda: connection.is_open, "it is open")
        for number in range(70):
            wire.push(frame(TEXT, b"%d" % number))
        assert not wire.is_reading
        adopt.set()
        await until(lambda: receiver.messages, "it was adopted")
        assert receiver.messages == [str(number) for number in range(70)]
        assert wire.is_reading
        wire.push(frame(TEXT, b"more"))
        assert receiver.messages[-1] == "more"

    async def test_the_bounds_are_the_receiver_s_from_then_on(self, wire: Wire) -> None:
        """Also for a message of which a part has come, and for what was sent before the handshake was answered."""
        adopt, receiver = asyncio.Event(), Receiver()

        async def application(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "websocket.accept"})
            await adopt.wait()
            scope["extensions"][EXTENSION].adopt(receiver, Bounds(1000, Allowance(300, 10**9)))

        wire.transport.protocol = connection = Connection(Server(application), wire.transport, request(), {})
        await until(lambda: connection.is_open, "it is open")
        wire.push(frame(TEXT, b"x" * 20_000))
        wire.push(frame(TEXT, b"x" * 900, final=False))
        adopt.set()
        await until(lambda: receiver.messages, "it was adopted")
        wire.push(frame(0, b"x" * 101))
        assert receiver.codes == [1009]
        assert receiver.messages == ["x" * 20_000]

    async def test_one_that_is_over_is_told_so_once(self, wire: Wire) -> None:
        adopt, receiver = asyncio.Event(), Receiver()

        async def application(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "websocket.accept"})
            await adopt.wait()
            scope["extensions"][EXTENSION].adopt(receiver, BOUNDS)

        wire.transport.protocol = connection = Connection(Server(application), wire.transport, request(), {})
        await until(lambda: connection.is_open, "it is open")
        wire.push(frame(CLOSE, b"\x03\xe9"))
        adopt.set()
        await until(lambda: receiver.codes, "its receiver was told")
        wire.drain()
        assert receiver.codes == [1001]


async def test_what_messages_become_counts_in_the_budget(wire: Wire) -> None:
    adopted = await Adopted(wire, allowance=Allowance(1000, 2500), inflates=True).opened()
    stream = zlib.compressobj(wbits=-15)
    payload = (stream.compress(b"x" * 1000) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]
    pushed = 0
    while not adopted.receiver.overruns and pushed < 9:
        adopted.wire.push(frame(TEXT, payload, bits=0x40))
        pushed += 1
    assert pushed in (3, 5)  # a second may begin with the first that is too much
    assert adopted.receiver.messages[0] == "x" * 1000
