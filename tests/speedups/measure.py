"""What the native part gains: each function by itself, and as a share of whole publications and fan-outs.

    python -m tests.speedups.measure [ROUNDS]

CPU time of this process in µs, medians of rounds in which Python and C take turns. Whole publications go from a frame
that a client sends, through a real node and Redis, to the frames that it gets; sockets are pairs, and no reactor runs,
so what the reactor and the network cost is not in it.
"""

import asyncio
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django

django.setup()

from django.test.utils import override_settings  # noqa: E402

from flotilla.realtime.client.client import Client  # noqa: E402
from flotilla.realtime.conf import get_config  # noqa: E402
from flotilla.realtime.engine import envelope  # noqa: E402
from flotilla.realtime.node.node import Node  # noqa: E402
from flotilla.realtime.protocol.frames import Frame, send_each  # noqa: E402
from flotilla.realtime.server.budget import Allowance, Bounds  # noqa: E402
from flotilla.realtime.server.connection import EXTENSION, Connection  # noqa: E402
from flotilla.store import get_store  # noqa: E402
from flotilla.store.shards import reset_store  # noqa: E402
from tests.both_implementations import NATIVE, PYTHON, places  # noqa: E402
from tests.raw_frames import TEXT, frame  # noqa: E402
from tests.realtime.client.nodes import ALLOWED  # noqa: E402
from tests.realtime.server.wires import Server, Wire, request  # noqa: E402
from tests.store.redis_process import RedisProcess, until  # noqa: E402

ROUNDS = 9
CLIENTS = 20
WINDOW = 10  # publications under way, of each client
PUBLICATIONS = 1000  # a round
CONFIG = {
    "anonymous": True,
    "abuse": None,
    "without_namespace": {},
    "namespaces": {"room": {**ALLOWED, "history_size": 100, "history_ttl": "300s", "force_recovery": True}},
}
DATA = b'{"n":12345,"text":"%b"}' % (b"x" * 80)
LARGE = b'{"text":"%b","n":%%d}' % (b"x" * 10_000)
PUBLISH = b'{"id":17,"publish":{"channel":"room:%d","data":%b}}'


def use(implementation: Any) -> None:
    """Have every module of ours call these functions."""
    for module, name in places():
        setattr(module, name, getattr(implementation, name))


def each_in_turn(rounds: int, measured: Callable[[], float]) -> tuple[float, float]:
    """Medians of what is measured with Python and with C."""
    found: dict[int, list[float]] = {0: [], 1: []}
    for turn in range(2 * rounds):
        use((PYTHON, NATIVE)[turn % 2])
        found[turn % 2].append(measured())
    return statistics.median(found[0]), statistics.median(found[1])


def row(name: str, python: float, native: float) -> None:
    """One line of the table."""
    print(f"| {name} | {python:.2f} | {native:.2f} | {python - native:.2f} |", flush=True)


# Functions by themselves


def functions(rounds: int) -> None:
    """A call of each, on what it gets for the bench's publications."""
    command = PUBLISH % (7, DATA)
    wire = frame(TEXT, command)
    body = b'{"data":%b,"info":{"user":"","client":"9f32aaaa-1111-2222-3333-444444444444"}}' % DATA
    push = PYTHON.publication_push(b'"room:7"', body, 12345)
    call = ("EVALSHA", "a" * 40, 3, *("{flotilla:p12}:c:abcdefabcdef:meta",) * 3, b"x" * 200, "2592000000", 100, 12, 3)
    tail = b"\xaeabcdefgh.12345\xa1o\xcd\x30\x39\xa1t\xcf\x00\x06\x00\x00\x00\x00\x00\x00\xa1n\xcd\x30\x39"
    announced = envelope.publication_head("room:7") + envelope.bin_head(len(body)) + body + b"\xa1e" + tail
    assert NATIVE.read_publication(announced) is not None
    calls: dict[str, Callable[[Any], Any]] = {
        "`first_text`, one publication": lambda of: of.first_text(wire, 0, 65536),
        "`pack`, a call of a script": lambda of: of.pack(call),
        "`read_publication`, or the envelope": lambda of: of.read_publication(announced) or envelope.decode(announced),
        "`publication_push`": lambda of: of.publication_push(b'"room:7"', body, 12345),
        "`fossil_delta`, one number of 10 KB": lambda of: of.fossil_delta(LARGE % 12345, LARGE % 67890),
        "`framed`": lambda of: of.framed(TEXT, push),
    }
    for name, call_of in calls.items():
        row(name, *(statistics.median(timed(call_of, of) for _ in range(rounds)) for of in (PYTHON, NATIVE)))


def timed(call: Callable[[Any], Any], of: Any, times: int = 5000) -> float:
    """µs of a call."""
    began = time.process_time()
    for _ in range(times):
        call(of)
    return (time.process_time() - began) / times * 1e6


# Fan-out


class Member:
    """An open connection, and the client's end of it."""

    def __init__(self, node: Node | None = None) -> None:
        self.wire = Wire()
        self.client: Client | None = None
        self._node = node
        self._opened = asyncio.Event()
        self.connection = Connection(Server(self._application), self.wire.transport, request(), {})
        self.wire.transport.protocol = self.connection

    async def _application(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        connection: Connection = scope["extensions"][EXTENSION]
        connection.max_unsent = 1 << 20
        if self._node is not None:
            self.client = Client(self._node, connection, {})
            connection.adopt(self.client, Bounds(65536, Allowance(10**9, 10**12)))
        self._opened.set()
        if self.client is None:
            await asyncio.Event().wait()

    async def opened(self) -> "Member":
        """When it can be sent to."""
        await self._opened.wait()
        self.connection.send(Frame(b"{}"))
        self.wire.read()
        return self


def fan_out(members: list[Member]) -> float:
    """µs of a delivery, to all of them at once."""
    frame_out, took, times = Frame(PUBLISH % (7, DATA)), 0.0, 2000 // len(members) + 1
    connections = [member.connection for member in members]
    for _ in range(times):
        began = time.process_time()
        send_each(connections, frame_out)
        took += time.process_time() - began
        for member in members:
            member.wire.theirs.recv(4096)
    return took / times / len(members) * 1e6


# Whole publications


async def publications(members: list[Member]) -> float:
    """µs of a publication of one client into its own room, its reply and its push."""
    wires = [frame(TEXT, PUBLISH % (number, DATA)) for number in range(len(members))]
    node = members[0].client.node  # type: ignore[union-attr]
    began, left = time.process_time(), PUBLICATIONS
    while left > 0:
        wanted = node.hub.delivered + WINDOW * len(members)
        for _ in range(WINDOW):
            for member, wire in zip(members, wires, strict=True):
                member.connection.dataReceived(wire)
        while node.hub.delivered < wanted or any(m.client.commands.unanswered for m in members):  # type: ignore[union-attr]
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        for member in members:
            member.wire.read()
        left -= WINDOW * len(members)
    return (time.process_time() - began) / (PUBLICATIONS - left) * 1e6


async def joined(node: Node, number: int) -> Member:
    """A client in a room of its own."""
    member = await Member(node).opened()
    member.connection.dataReceived(frame(TEXT, b'{"id":1,"connect":{}}'))
    member.connection.dataReceived(frame(TEXT, b'{"id":2,"subscribe":{"channel":"room:%d"}}' % number))
    assert member.client is not None
    client = member.client
    await until(lambda: client.subscriptions and all(one.held is None for one in client.subscriptions.values()))
    return member


async def connects(node: Node) -> float:
    """µs of a client that connects, subscribes to a room of its own, and goes."""
    began = time.process_time()
    members = await asyncio.gather(*(joined(node, number) for number in range(CLIENTS)))
    for member in members:
        member.wire.hang_up()
    await asyncio.sleep(0)
    return (time.process_time() - began) / CLIENTS * 1e6


async def whole(rounds: int, node: Node) -> None:
    """The rows that need a node."""
    members = [await joined(node, number) for number in range(CLIENTS)]
    jobs: dict[str, Callable[[], Awaitable[float]]] = {
        "a whole publication with history": lambda: publications(members),
        "a client that connects, subscribes and goes": lambda: connects(node),
    }
    for name, job in jobs.items():
        found: dict[int, list[float]] = {0: [], 1: []}
        for turn in range(2 * rounds + 2):
            use((PYTHON, NATIVE)[turn % 2])
            took = await job()
            if turn > 1:  # everything is imported and compiled before it counts
                found[turn % 2].append(took)
        row(name, *(statistics.median(found[one]) for one in (0, 1)))


async def measure(rounds: int) -> None:
    """The table."""
    print("| | Python, µs | native, µs | gain, µs |\n|---|---:|---:|---:|")
    functions(rounds)
    for size in (5, 500):
        members = [await Member().opened() for _ in range(size)]
        row(f"a delivery of a fan-out to {size}", *each_in_turn(rounds, lambda: fan_out(members)))  # noqa: B023
        for member in members:
            member.connection.kill()
            member.wire.end()


async def with_node(work: Callable[[Node], Awaitable[None]]) -> None:
    """A started node, on the store of the settings."""
    node = Node(get_config(), get_store(), "measured")
    await node.start()
    try:
        await work(node)
    finally:
        await node.close()


def main() -> None:
    """All rows."""
    rounds = int(sys.argv[1]) if sys.argv[1:] else ROUNDS
    asyncio.run(measure(rounds))
    redis = RedisProcess()
    try:
        with override_settings(REDIS_URLS=[redis.url], REALTIME=CONFIG, REALTIME_CONFIG=None):
            get_config.reset()
            reset_store()
            asyncio.run(with_node(lambda node: whole(rounds, node)))
    finally:
        redis.close()


if __name__ == "__main__":
    main()
