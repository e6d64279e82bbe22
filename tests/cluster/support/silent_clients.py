"""Strangers that hold places at the door: handshakes that are never followed by a `connect`."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from tests.cluster.support.light_client import LightClient
from tests.cluster.support.processes import eventually


class Silent:
    """`count` clients that open a connection and say nothing. `opened`: how many were let in."""

    def __init__(self, port: int, count: int, source: str = "127.0.0.1", headers: Sequence[str] = ()) -> None:
        self._port = port
        self._count = count
        self._source = source
        self._headers = headers
        self.clients: list[LightClient] = []

    @property
    def opened(self) -> int:
        """How many were let in by now."""
        return sum(client.opened.done() and client.opened.exception() is None for client in self.clients)

    async def come(self) -> None:
        """All of them send their handshake, and wait."""
        loop = asyncio.get_running_loop()
        make = partial(
            LightClient, "127.0.0.1", "/connection/websocket", lambda text: None, lambda code: None, self._headers
        )
        for _ in range(self._count):
            _, client = await loop.create_connection(make, "127.0.0.1", self._port, local_addr=(self._source, 0))
            self.clients.append(client)

    def leave(self) -> None:
        """All of them are gone, without a word."""
        for client in self.clients:
            client.abort()


@asynccontextmanager
async def silent_clients(
    port: int, count: int, source: str = "127.0.0.1", headers: Sequence[str] = ()
) -> AsyncIterator[Silent]:
    """Silent clients that wait for a place, for the time of a block."""
    crowd = Silent(port, count, source, headers)
    try:
        await crowd.come()
        await eventually(lambda: crowd.opened, "the first of them are let in")
        yield crowd
    finally:
        crowd.leave()
        await asyncio.gather(*(client.opened for client in crowd.clients), return_exceptions=True)
