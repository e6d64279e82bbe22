"""The process that attacks: `python -m tests.hostile.attacker NAME`, with its aim as JSON on the standard input.

It comes from an address of its own, sends bytes that were made before, and is nice: what it does to others must come of
the server it attacks, not of the processor it uses. At its end it prints what it saw, as JSON.
"""

import asyncio
import contextlib
import json
import os
import re
import resource
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

FROM = "127.0.0.66"  # the attackers' address; everybody else comes from 127.0.0.1
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
MAX_OPENINGS = 400.0  # connections a second, all together
NICE = 15
FIRST_ANSWER_WITHIN = 5.0


@dataclass
class Aim:
    """What is attacked, and for how long. `statuses`: of the answers that were read."""

    port: int
    seconds: float
    tls_port: int = 0
    metrics_port: int = 0
    key: str = ""
    token: str = ""
    size: int = 10**9  # bytes of a large transfer
    events: float = 300.0  # seconds of a long one
    began: float = field(default_factory=time.monotonic)
    opened: int = 0
    refused: int = 0
    sent: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    _next: float = 0.0

    @property
    def goes_on(self) -> bool:
        """Whether the time is not over."""
        return time.monotonic() - self.began < self.seconds

    async def turn(self) -> None:
        """Wait for the turn to open a connection: so many a second, all together."""
        now = time.monotonic()
        self._next = max(self._next + 1 / MAX_OPENINGS, now)
        await asyncio.sleep(self._next - now)


class Gone(Exception):
    """The server closed the connection, or did not take it."""


class Connection:
    """One attacker's socket: nothing is read unless it is asked for."""

    def __init__(self, aim: Aim) -> None:
        self.aim = aim
        self._socket = socket.socket()
        self._socket.setblocking(False)
        self._loop = asyncio.get_running_loop()

    async def open(self, port: int = 0, receive_buffer: int = 0) -> None:
        """Connect. Raises Gone."""
        await self.aim.turn()
        if receive_buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            self._socket.bind((FROM, 0))
            async with asyncio.timeout(5):
                await self._loop.sock_connect(self._socket, ("127.0.0.1", port or self.aim.port))
        except (OSError, TimeoutError):
            self.aim.refused += 1
            raise Gone from None
        self.aim.opened += 1

    async def send(self, data: bytes) -> None:
        """Send all of it. Raises Gone."""
        try:
            await self._loop.sock_sendall(self._socket, data)
        except OSError:
            raise Gone from None
        self.aim.sent += len(data)

    async def read(self, size: int = 65536) -> bytes:
        """What is there, when something is. Raises Gone at the end."""
        try:
            data = await self._loop.sock_recv(self._socket, size)
        except OSError:
            raise Gone from None
        if not data:
            raise Gone
        for status in STATUS.findall(data):
            self.aim.statuses[status.decode()] += 1
        return data

    def look(self) -> None:
        """Read what is there already. Raises Gone at the end."""
        while True:
            try:
                data = self._socket.recv(1 << 20)
            except BlockingIOError:
                return
            except OSError:
                raise Gone from None
            if not data:
                raise Gone
            for status in STATUS.findall(data):
                self.aim.statuses[status.decode()] += 1

    async def read_for(self, seconds: float) -> None:
        """Read and forget for a time. Raises Gone at the end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    await self.read()

    async def wait(self, seconds: float) -> None:
        """Do nothing for a time, but not beyond the end of the attack."""
        left = self.aim.began + self.aim.seconds - time.monotonic()
        await asyncio.sleep(max(0.0, min(seconds, left)))

    async def hold(self) -> None:
        """Stay and read nothing, until the attack is over or the connection is closed."""
        while self.aim.goes_on:
            await self.wait(0.5)
            if self._closed():
                raise Gone

    async def wait_closed(self) -> None:
        """Stay, read and forget, until the attack is over or the connection is closed."""
        while self.aim.goes_on:
            await self.wait(0.5)
            self.look()

    def end_writing(self) -> None:
        """Close half of it."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End it with a reset."""
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """End it."""
        self._socket.close()

    def _closed(self) -> bool:
        """Whether the server has ended it; what it sent stays unread."""
        info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        return info[0] not in (1, 4, 5)  # established, and the states after our own shutdown


Script = Callable[[Connection], Awaitable[None]]


async def crowd(aim: Aim, size: int, script: Script, *, again: bool = True, pause: float = 0.0) -> None:
    """So many at once play a script, and each comes back when it was closed (`again`)."""

    async def one() -> None:
        while aim.goes_on:
            connection = Connection(aim)
            try:
                await script(connection)
            except Gone:
                await asyncio.sleep(0.05)
            finally:
                connection.close()
            if not again:
                return
            await asyncio.sleep(pause)

    tasks = [asyncio.create_task(one()) for _ in range(size)]
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, aim.began + aim.seconds + 2 - time.monotonic())):
            await asyncio.gather(*tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def flood(connection: Connection, data: bytes, rate: float, *, read: bool = True) -> None:
    """Send the same bytes again and again, at so many bytes a second."""
    began, sent = time.monotonic(), 0
    while connection.aim.goes_on:
        await connection.send(data)
        sent += len(data)
        if read:
            connection.look()
        await asyncio.sleep(max(0.0, began + sent / rate - time.monotonic()))


def main() -> None:
    """Play one attack."""
    from tests.hostile.attacks import ATTACKS

    os.nice(NICE)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    aim = Aim(**json.load(sys.stdin))
    asyncio.run(ATTACKS[sys.argv[1]].play(aim))
    told: dict[str, Any] = {name: getattr(aim, name) for name in ("opened", "refused", "sent", "statuses", "faults")}
    print(json.dumps(told | {"cpu": round(time.process_time() / aim.seconds, 2)}), flush=True)


if __name__ == "__main__":
    main()
