"""Those who are to notice nothing: a subscriber, a reader of small pages and newcomers, at both instances.

Everything is timed by one clock in one process. What is late at the attacked instance is compared with the other
instance in the same moment, and what the machine withheld of the attacked process (the time in which it was ready to
run and had no processor) is taken off: both are no work of the attack.
"""

import asyncio
import contextlib
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from tests.chaos.publishers import HttpCaller
from tests.cluster.support.harness import API_KEY
from tests.cluster.support.raw_client import token
from tests.hostile.ground import waited

CHANNEL = "open:witness"
EVERY, ASK_EVERY, COME_EVERY = 0.05, 0.2, 0.5  # seconds
NEVER = 10.0  # seconds: the lateness of what did not come at all
GET = b"GET /generic/request HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
LOOK_EVERY = 0.02


@dataclass
class Lateness:
    """Of one kind of witness, in seconds: of each pair, how much later the attacked instance was."""

    pairs: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)  # how late the instance was that nobody attacked

    def add(self, attacked: float, other: float, withheld: float) -> None:
        """One event at both."""
        self.pairs.append(max(0.0, attacked - other - withheld))
        self.others.append(other)

    def figures(self) -> dict[str, float]:
        """In milliseconds. `late`: all but one were no later, for a single one may be the machine's doing."""
        if not self.pairs:
            return {"count": 0, "p50": 0.0, "p99": 0.0, "late": 0.0, "max": 0.0, "other": 0.0}
        ordered = sorted(self.pairs)
        p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
        figures = {"p50": statistics.median(ordered), "p99": p99, "late": ordered[-2:][0], "max": ordered[-1]}
        figures["other"] = max(self.others)
        return {"count": len(ordered)} | {name: round(value * 1000, 1) for name, value in figures.items()}


class Clock:
    """How long a process has waited for a processor, sampled, so that it can be asked for any time that is over.

    It holds also how long this very process was held up: what is late then says nothing.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._samples: list[tuple[float, float]] = [(time.monotonic(), waited(pid))]
        self.held_up = 0.0

    async def run(self) -> None:
        """Sample."""
        while True:
            asked = time.monotonic()
            await asyncio.sleep(LOOK_EVERY)
            now = time.monotonic()
            self.held_up += max(0.0, now - asked - 2 * LOOK_EVERY)
            self._samples.append((now, waited(self._pid)))

    def withheld(self, since: float, until: float) -> float:
        """Seconds it waited between two moments."""
        self._samples.append((time.monotonic(), waited(self._pid)))
        before = [sample[1] for sample in self._samples if sample[0] <= since][-1:] or [self._samples[0][1]]
        after = [sample[1] for sample in self._samples if sample[0] >= until][:1] or [self._samples[-1][1]]
        return max(0.0, min(after[0] - before[0], until - since))

    def shares(self) -> tuple[float, float]:
        """The parts of the whole time in which this process was held up, and in which the other waited."""
        first, last = self._samples[0], self._samples[-1]
        whole = max(0.001, last[0] - first[0])
        return round(self.held_up / whole, 3), round((last[1] - first[1]) / whole, 3)


class Witnesses:
    """All of them. `faults` says what must not have happened whenever it did."""

    def __init__(self, attacked: int, other: int, pid: int) -> None:
        self._ports = (attacked, other)
        self._pid = pid
        self.publications, self.pages, self.newcomers = Lateness(), Lateness(), Lateness()
        self.faults: list[str] = []
        self.clock = Clock(pid)
        self._sent: dict[int, float] = {}
        self._arrived: tuple[dict[int, float], dict[int, float]] = ({}, {})
        self._tasks: list[asyncio.Task[None]] = []
        self._sockets: list[ClientConnection] = []
        self._caller = HttpCaller(lambda: other, API_KEY)

    async def __aenter__(self) -> "Witnesses":
        for index, port in enumerate(self._ports):
            socket = await _come(port)
            await socket.send(json.dumps({"id": 2, "subscribe": {"channel": CHANNEL}}))
            self._sockets.append(socket)
            self._tasks.append(asyncio.create_task(self._listen(index, socket)))
        for work in (self._publish, self._ask, self._newcomers, self.clock.run):
            self._tasks.append(asyncio.create_task(work()))
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(0.5)
        deadline = time.monotonic() + NEVER
        while self._sent.keys() - self._arrived[0].keys() and time.monotonic() < deadline and not self.faults:
            await asyncio.sleep(0.1)
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        self.faults += [f"a witness failed: {one!r}" for one in ended if isinstance(one, Exception)]
        for socket in self._sockets:
            socket.transport.abort()
        self._caller.close()
        self._compare()

    def _compare(self) -> None:
        for number, sent in self._sent.items():
            other = self._arrived[1].get(number)
            if other is None:
                continue  # the cluster itself had not got it
            attacked = self._arrived[0].get(number, sent + NEVER)
            self.publications.add(attacked - sent, other - sent, self.clock.withheld(sent, attacked))

    async def _publish(self) -> None:
        number, due = 0, time.monotonic()
        while True:
            number, due = number + 1, due + EVERY
            await asyncio.sleep(due - time.monotonic())
            self._sent[number] = time.monotonic()
            with contextlib.suppress(OSError, TimeoutError, ValueError):
                await self._caller.call("publish", {"channel": CHANNEL, "data": number})

    async def _listen(self, index: int, socket: ClientConnection) -> None:
        arrived = self._arrived[index]
        try:
            async for message in socket:
                for line in str(message).split("\n"):
                    found: dict[str, Any] = json.loads(line)
                    if not found:
                        await socket.send("{}")
                    elif data := found.get("push", {}).get("pub", {}).get("data"):
                        arrived[data] = time.monotonic()
            self.faults.append(f"the witness was closed: {socket.close_code} {socket.close_reason}")
        except (OSError, WebSocketException) as error:
            self.faults.append(f"the witness was lost: {error!r}")

    async def _ask(self) -> None:
        await self._in_pairs(ASK_EVERY, self.pages, _page, "page")

    async def _newcomers(self) -> None:
        await self._in_pairs(COME_EVERY, self.newcomers, _newcomer, "newcomer")

    async def _in_pairs(self, every: float, lateness: Lateness, attempt: Callable[[int], Any], what: str) -> None:
        while True:
            began = time.monotonic()
            attacked, other = await asyncio.gather(*(_timed(attempt, port) for port in self._ports))
            if isinstance(other, float):
                took = NEVER if isinstance(attacked, str) else attacked
                lateness.add(took, other, self.clock.withheld(began, began + took))
                if isinstance(attacked, str):
                    self.faults.append(f"a {what} failed: {attacked}")
            await asyncio.sleep(max(0.0, every - (time.monotonic() - began)))


async def _timed(attempt: Callable[[int], Any], port: int) -> float | str:
    """Seconds it took, NEVER for what did not come in time, or what went wrong."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(NEVER):
            await attempt(port)
    except TimeoutError:
        return NEVER
    except (OSError, ValueError, WebSocketException, asyncio.IncompleteReadError) as error:
        return repr(error)[:150]
    return time.monotonic() - began


async def _page(port: int) -> None:
    """One small page over a connection of its own. Raises ValueError for an answer that is no success."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(GET)
        answer = await reader.read()
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise ValueError(f"answered {answer[:40]!r}")
    finally:
        writer.transport.abort()


async def _newcomer(port: int) -> None:
    socket = await _come(port)
    socket.transport.abort()


async def _come(port: int) -> ClientConnection:
    """A client that has connected; nothing is left of one that has not."""
    url = f"ws://127.0.0.1:{port}/connection/websocket"
    socket = await connect(url, proxy=None, compression=None, ping_interval=None, open_timeout=NEVER)
    try:
        await socket.send(json.dumps({"id": 1, "connect": {"token": token("7")}}))
        answer = json.loads(str(await socket.recv()).split("\n")[0])
        if "connect" not in answer:
            raise ValueError(f"not connected: {answer}")
    except BaseException:
        socket.transport.abort()
        raise
    return socket
