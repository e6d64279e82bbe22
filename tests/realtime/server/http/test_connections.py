"""One connection over a real transport without a reactor: order, back-pressure, ends, and that nothing is left."""

import asyncio
import gc
import time
import weakref
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from flotilla.realtime.server.factory import Factory
from flotilla.realtime.server.http import writer
from flotilla.realtime.server.http.answering import responses_waiting
from flotilla.realtime.server.http.connection import HttpConnection
from flotilla.realtime.server.http.request import MAX_HELD, logger
from flotilla.realtime.server.traffic import traffic
from flotilla.realtime.server.transports import unsent
from tests.realtime.server.wires import Server, Wire
from tests.waiting import PATIENCE, until

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"

App = Callable[[Any, Any, Any], Awaitable[None]]


class Served:
    """A connection of an application that a test may change."""

    def __init__(self, wire: Wire) -> None:
        self.app: App = hello
        self.factory = Factory(Server(self._run))
        self.wire = wire
        self.connection: HttpConnection | None = self.factory.buildProtocol(None)
        wire.transport.protocol = self.connection
        self.connection.makeConnection(wire.transport)

    async def _run(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)

    async def answer(self, marker: bytes = b"hello") -> bytes:
        """What comes until there is a marker in it."""
        found = b""

        def came() -> bool:
            nonlocal found
            found += self.wire.drain()
            return marker in found

        await until(came, "the answer")
        return found


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    made.end()


async def test_bytes_of_requests_and_responses_are_counted(wire: Wire) -> None:
    """Heads as well as bodies."""
    served, came, went = Served(wire), traffic.http_in, traffic.http_out
    wire.push(GET)
    answer = await served.answer()
    assert traffic.http_in - came == len(GET)
    assert traffic.http_out - went == len(answer)


async def test_one_request_at_a_time(wire: Wire) -> None:
    served, running, most = Served(wire), 0, 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await hello(scope, receive, send)
        await asyncio.sleep(0)  # its end is waited for as well
        running -= 1

    served.app = app
    wire.push(GET * 3)
    await until(lambda: wire.drain() == b"" and not served.factory.requests and not served.factory.busy, "all are over")
    assert most == 1


async def test_send_waits_for_a_client_that_does_not_read(wire: Wire) -> None:
    served, sent = Served(wire), 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200})
        for _ in range(100):
            await send({"type": "http.response.body", "body": b"x" * 50_000, "more_body": True})
            sent += 1
        await send({"type": "http.response.body", "body": b"hello"})

    served.app = app
    wire.push(GET)
    await until(lambda: sent, "it sends")
    for _ in range(20):
        await asyncio.sleep(0)
    assert sent < 5
    assert 0 < responses_waiting() < 200_000
    await served.answer()
    assert sent == 100
    assert not responses_waiting()


async def test_a_large_part_is_written_no_faster_than_it_is_taken(wire: Wire) -> None:
    served = Served(wire)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"x" * 3_000_000 + b"hello"})

    served.app = app
    wire.push(GET)
    await until(lambda: unsent(wire.transport), "it is sent")
    for _ in range(20):
        await asyncio.sleep(0)
    assert unsent(wire.transport) < 200_000
    found = await served.answer()
    assert b"Content-Length: 3000005\r\n" in found


async def test_a_body_waits_for_its_application(wire: Wire) -> None:
    served, size, may = Served(wire), 0, asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal size
        await may.wait()
        more = True
        while more:
            event = await receive()
            size, more = size + len(event["body"]), event["more_body"]
        await hello(scope, receive, send)

    served.app = app
    wire.push(POST % 2_000_000)
    given = 0
    while wire.is_reading:
        wire.push(b"x" * 50_000)
        given += 50_000
    assert given <= MAX_HELD + 50_000
    may.set()
    while given < 2_000_000:
        await until(lambda: wire.is_reading, "more is read")
        wire.push(b"x" * 50_000)
        given += 50_000
    await served.answer()
    assert size == 2_000_000


@pytest.mark.parametrize("begun", [False, True])
async def test_a_response_has_time_until_it_begins_and_then_as_long_as_it_takes(wire: Wire, begun: bool) -> None:
    served, ends = Served(wire), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if begun:
            await send({"type": "http.response.start", "status": 200})
        assert (await receive())["type"] == "http.request"
        if begun:
            await ends.wait()
            await send({"type": "http.response.body", "body": b"hello"})
        else:
            assert (await receive())["type"] == "http.disconnect"
            ends.set()

    served.app = app
    wire.push(GET)
    await asyncio.sleep(0.01)
    assert served.connection is not None
    for later in (59.0, 61.0, 3600.0):
        served.connection.check(time.monotonic() + later)
    if begun:
        ends.set()
        assert (await served.answer()).startswith(b"HTTP/1.1 200 ")
    else:
        assert (await served.answer(b"60 s")).startswith(b"HTTP/1.1 503 ")
        await asyncio.wait_for(ends.wait(), PATIENCE)


async def test_an_application_whose_client_is_gone_is_cancelled_in_the_end(wire: Wire) -> None:
    served, cancelled = Served(wire), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    served.app = app
    wire.push(GET)
    await asyncio.sleep(0)
    served.connection = None
    wire.transport.connectionLost(Failure(ConnectionDone()))
    served.factory.look_after_busy(10)
    await asyncio.sleep(0)
    assert not cancelled.is_set()
    served.factory.look_after_busy(-1)
    await asyncio.wait_for(cancelled.wait(), PATIENCE)
    await until(lambda: not served.factory.requests, "it is forgotten")


@pytest.mark.parametrize("data", [GET, GET.replace(b"GET", b"HEAD")])
async def test_an_application_that_sends_to_nobody_for_ever_is_ended(wire: Wire, data: bytes) -> None:
    """Its client is gone, or wanted no body."""
    served, sent = Served(wire), 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200})
        while True:
            sent += 1
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})

    served.app = app
    wire.push(data)
    await until(lambda: sent, "it sends")
    if data == GET:
        served.connection = None
        wire.transport.connectionLost(Failure(ConnectionDone()))
    await until(lambda: not served.factory.requests, "it has ended")
    assert sent < 200


@pytest.mark.parametrize("ends", ["by itself", "by the client", "with a failure", "in the middle"])
async def test_nothing_is_left_of_it_without_the_garbage_collector(
    wire: Wire, ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = Served(wire)
    weak: list[weakref.ref[Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        weak.append(weakref.ref(receive.__self__))
        await receive()
        if ends == "with a failure":
            raise RuntimeError
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"hello", "more_body": ends == "in the middle"})
        await receive()

    served.app = app
    monkeypatch.setattr(logger, "disabled", True)  # pytest keeps what is logged, with its traceback
    gc.collect()
    gc.disable()
    try:
        weak.append(weakref.ref(served.connection))
        served.connection = None
        wire.push(GET)
        if ends != "by the client":
            await served.answer(b"hello" if ends != "with a failure" else b" 500 ")
        if hasattr(wire.transport, "protocol"):
            wire.transport.connectionLost(Failure(ConnectionDone()))
        await until(lambda: not served.factory.requests, "the application has ended")
        await asyncio.sleep(0)
        assert [one() for one in weak] == [None] * len(weak)
        assert not served.factory.busy
        assert not served.factory._undecided
        assert not served.factory._idle
        assert not served.factory.waiting.size
    finally:
        gc.enable()


class Aborted(Exception):
    """What Django's handler makes of the disconnect."""


class Held:
    """A response."""


async def test_nothing_stays_of_a_response_whose_application_waits_for_the_disconnect_beside(wire: Wire) -> None:
    """As Django's: an exception would hold the handler's frame, which holds the task that holds the exception."""
    served, responses, aborted = Served(wire), list[weakref.ref[Held]](), list[bool]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        response = Held()
        responses.append(weakref.ref(response))

        async def listen() -> None:
            assert (await receive())["type"] == "http.disconnect"
            aborted.append(True)
            raise Aborted

        tasks = [asyncio.create_task(listen()), asyncio.create_task(hello(scope, receive, send))]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            try:
                if not task.done():
                    task.cancel()
                await task
            except (Aborted, asyncio.CancelledError):
                continue

    served.app = app
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            wire.push(GET)
            await served.answer()
            await until(lambda: not served.factory.requests, "the application has ended")
        assert [one() for one in responses] == [None] * 3
        assert not aborted
    finally:
        gc.enable()


async def test_an_application_that_goes_on_behind_its_response_is_told_of_the_end(wire: Wire) -> None:
    """Also where it waited for that before it answered."""
    served, told = Served(wire), list[str]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        waiting = asyncio.create_task(receive())
        await asyncio.sleep(0)
        await hello(scope, receive, send)
        told.append((await waiting)["type"])
        told.append((await receive())["type"])

    served.app = app
    wire.push(GET * 2)
    await until(lambda: len(told) == 4, "both have ended")
    assert told == ["http.disconnect"] * 4


async def test_an_idle_connection_that_still_reads_is_not_idle(wire: Wire) -> None:
    served = Served(wire)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"x" * 60_000 + b"hello"})

    served.app = app
    wire.push(GET)
    await until(lambda: served.factory._idle, "the response is complete")
    now = time.monotonic()
    assert served.connection is not None
    served.connection.expire(now + 61)
    assert served.factory._idle
    await served.answer()
    served.connection.expire(now + 122)
    assert not served.factory._idle


async def test_who_is_the_oldest_gives_way_even_with_something_unread(wire: Wire) -> None:
    """Or it would be asked to close in vain."""
    served = Served(wire)
    assert served.connection is not None
    served.connection.give_up()
    assert not served.factory._undecided
    assert not served.factory.waiting.size


async def test_others_have_their_turn_while_a_client_takes_everything_at_once(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An application whose client never makes it wait would write all it has in one turn of the loop."""
    monkeypatch.setattr(writer, "TURN", 1000)  # less than a socket takes at once
    turns: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        for _ in range(3):
            await send({"type": "http.response.body", "body": bytes(2000), "more_body": True})
            turns.append("written")
        await send({"type": "http.response.body", "body": b"the end"})

    async def another() -> None:
        while turns.count("written") < 3:
            turns.append("another")
            await asyncio.sleep(0)

    served = Served(wire)
    served.app = app
    waiting = asyncio.create_task(another())
    wire.push(GET)
    await served.answer(b"the end")
    await waiting
    assert "another" in turns[turns.index("written") :][:3]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (b"text/html,*/*;q=0.8", b"text/html; charset=utf-8"),
        (b"application/json", b"application/problem+json"),
        (b"*/*", b"text/plain"),
    ],
)
async def test_what_cannot_be_served_is_refused_in_the_form_that_is_accepted(
    wire: Wire, accept: bytes, kind: bytes
) -> None:
    served = Served(wire)

    async def failing(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("its secret")

    served.app = failing
    logger.disabled = True
    try:
        wire.push(GET.replace(b"\r\n\r\n", b"\r\nAccept: " + accept + b"\r\n\r\n"))
        answer = await served.answer(b"Internal Server Error")
    finally:
        logger.disabled = False
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"content-type: " + kind + b"\r\n" in answer
    assert b"its secret" not in answer
    assert (b"<h1>Something went wrong</h1>" in answer) == (b"html" in kind)


async def test_a_page_that_refuses_too_large_a_body_is_for_browsers(wire: Wire) -> None:
    served = Served(wire)
    wire.push((POST % 10**12).replace(b"\r\n\r\n", b"\r\nAccept: text/html\r\n\r\n"))
    answer = await served.answer(b"</html>")
    assert answer.startswith(b"HTTP/1.1 413 ") and b"This is too large" in answer


async def test_the_next_request_waits_until_the_last_answer_is_taken(wire: Wire) -> None:
    """Its end was written at once, behind more than a transport holds: what tells that there is room goes on."""
    served, ended = Served(wire), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        served.app = hello
        await send({"type": "http.response.start", "status": 200})
        while served.connection is not None and served.connection.unsent <= 10_000:
            await send({"type": "http.response.body", "body": bytes(40_000), "more_body": True})
        await send({"type": "http.response.body", "body": bytes(60_000)})
        ended.set()

    served.app = app
    wire.push(GET + GET)
    await asyncio.wait_for(ended.wait(), 30)
    assert served.connection is not None and served.connection.unsent > 64 * 1024
    assert (await served.answer(b"hello")).count(b"HTTP/1.1 200") == 2
