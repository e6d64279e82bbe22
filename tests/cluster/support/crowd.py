"""Many clients of one address that come within a short time, as after an outage: light ones, each with a token.

As SDKs do, a client that is not let in comes again a moment later, until it is.
"""

import asyncio
import json
import random

from tests.cluster.support.light_client import LightClient
from tests.cluster.support.raw_client import token

WITHIN = 240.0  # seconds a busy machine may take for all of them
AGAIN = 0.5  # seconds at least until a client comes again


class Crowd:
    """`count` clients, of which `at_once` are on their way. `connected`: how many are in; `again`: what others met."""

    def __init__(self, port: int, count: int, source: str, at_once: int) -> None:
        self.connected = 0
        self.again: list[str] = []
        self._port = port
        self._count = count
        self._source = source
        self._gate = asyncio.Semaphore(at_once)
        self._clients: list[LightClient] = []
        self._said = json.dumps({"id": 1, "connect": {"token": token("ann")}})

    async def come(self) -> None:
        """All of them connect; returns when everybody is in. Raises TimeoutError."""
        async with asyncio.timeout(WITHIN), asyncio.TaskGroup() as group:
            for _ in range(self._count):
                group.create_task(self._one())

    def leave(self) -> None:
        """All of them are gone."""
        for client in self._clients:
            client.abort()

    async def _one(self) -> None:
        async with self._gate:
            while True:
                try:
                    await self._connect()
                except OSError as error:
                    self.again.append(str(error)[:200])
                    await asyncio.sleep(AGAIN * (1 + random.random()))
                else:
                    self.connected += 1
                    return

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str] = loop.create_future()

        def on_text(text: str) -> None:
            if '"id":1' in text and not answer.done():
                answer.set_result(text)

        def on_end(code: int) -> None:
            if not answer.done():
                answer.set_exception(ConnectionError(f"closed with {code}"))

        def made() -> LightClient:
            return LightClient("127.0.0.1", "/connection/websocket", on_text, on_end)

        _, client = await loop.create_connection(made, "127.0.0.1", self._port, local_addr=(self._source, 0))
        self._clients.append(client)
        await client.opened
        client.send(self._said)
        if '"error"' in (said := await answer):
            client.abort()
            raise ConnectionError(said)
