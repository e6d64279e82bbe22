"""WebSockets that an application takes without ASGI: answered as the application says, and adopted in the same step."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
import pytest_asyncio

from flotilla.realtime.server.budget import Allowance, Bounds
from flotilla.realtime.server.connection import EXTENSION, Connection
from flotilla.realtime.server.direct import Opening
from tests.raw_frames import TEXT, frame
from tests.realtime.server.wires import Receiver, Server, Wire, request
from tests.waiting import until

pytestmark = pytest.mark.asyncio

BOUNDS = Bounds(1000, Allowance(10_000, 10_000_000))
Take = Callable[[Opening], Coroutine[Any, Any, None]]


class Application:
    """Takes what lies under `/`, and has the rest come by ASGI."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self.by_asgi = 0

    def without_asgi(self, scope: Any) -> Take | None:
        return self._take if scope["path"] == "/" else None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.by_asgi += 1
        assert EXTENSION in scope["extensions"]
        await send({"type": "websocket.close"})


@pytest_asyncio.fixture
async def wire() -> AsyncIterator[Wire]:
    made = Wire()
    yield made
    made.end()


def opened(wire: Wire, application: Any, path: str = "/", rest: bytes = b"") -> Connection:
    wire.transport.protocol = made = Connection(Server(application), wire.transport, request(rest), {"path": path})
    return made


async def test_it_is_accepted_and_adopted_without_a_task(wire: Wire) -> None:
    receiver, tasks = Receiver(), asyncio.all_tasks()

    async def take(opening: Opening) -> None:
        socket = await opening.accept("chat", 1000)
        socket.adopt(receiver, BOUNDS)

    connection = opened(wire, Application(take))
    assert connection.is_open and connection.max_unsent == 1000
    assert b"sec-websocket-protocol: chat" in wire.read()
    wire.push(frame(TEXT, b"hello"))
    assert receiver.messages == ["hello"]
    assert {task for task in asyncio.all_tasks() - tasks if not task.done()} <= asyncio.all_tasks()
    wire.hang_up()
    assert receiver.codes == [1006]


async def test_what_came_before_the_answer_is_handed_over_after_it(wire: Wire) -> None:
    receiver, gate = Receiver(), asyncio.Event()

    async def take(opening: Opening) -> None:
        await gate.wait()
        (await opening.accept(None, 1000)).adopt(receiver, BOUNDS)

    connection = opened(wire, Application(take), rest=frame(TEXT, b"early"))
    assert connection.is_connecting
    gate.set()
    await until(lambda: receiver.messages == ["early"], "it is handed over")


async def test_any_other_path_comes_by_asgi(wire: Wire) -> None:
    async def take(opening: Opening) -> None:
        raise AssertionError("it is not this one's")

    application = Application(take)
    opened(wire, application, "/other")
    await until(lambda: application.by_asgi == 1, "the application is called")
    await until(lambda: wire.drain().startswith(b"HTTP/1.1 403 "), "it is refused")


async def test_a_refusal_says_when_to_come_again(wire: Wire) -> None:
    async def take(opening: Opening) -> None:
        await opening.reject(503, [(b"retry-after", b"7")])

    opened(wire, Application(take))
    answer = wire.drain()
    assert answer.startswith(b"HTTP/1.1 503 ") and b"retry-after: 7\r\n" in answer


@pytest.mark.parametrize("waits", [False, True])
async def test_a_fault_is_answered_with_500(wire: Wire, waits: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def take(opening: Opening) -> None:
        if waits:
            await asyncio.sleep(0)
        raise RuntimeError("as it was asked to")

    opened(wire, Application(take))
    await until(lambda: wire.drain().startswith(b"HTTP/1.1 500 "), "it is answered")
    assert "the application of a WebSocket failed" in caplog.text


async def test_who_is_not_answered_is_told_that_it_failed(wire: Wire) -> None:
    async def take(opening: Opening) -> None:
        return None

    opened(wire, Application(take))
    assert wire.drain().startswith(b"HTTP/1.1 500 ")


@pytest.mark.parametrize("asked", ["before", "after"])
async def test_it_is_known_that_the_client_is_gone(wire: Wire, asked: str) -> None:
    gone, gate, receiver = [], asyncio.Event(), Receiver()

    async def take(opening: Opening) -> None:
        if asked == "after":
            await gate.wait()
        await opening.gone()
        gone.append(True)
        (await opening.accept(None, 1000)).adopt(receiver, BOUNDS)  # all the same

    opened(wire, Application(take))
    wire.hang_up()
    gate.set()
    await until(lambda: bool(gone), "it is told")
    await until(lambda: receiver.codes == [1006], "and so is who adopts it")


async def test_a_server_that_ends_cancels_who_waits(wire: Wire) -> None:
    async def take(opening: Opening) -> None:
        await asyncio.Event().wait()

    connection = opened(wire, Application(take))
    task = connection.kill()
    assert task is not None
    with pytest.raises(asyncio.CancelledError):
        await task
    assert wire.drain().startswith(b"HTTP/1.1 500 ")
