"""Many clients of one address that come at once, as after an outage: light ones, each connected by its token."""

import asyncio
import json
from dataclasses import dataclass, field

from clients import token
from light import LightClient
from processes import eventually

WITHIN = 120.0  # seconds a busy machine may take for all of them


@dataclass
class Crowd:
    """`count` clients. `connected`: how many have their connect reply; `failed`: what else they met."""

    port: int
    count: int
    source: str
    connected: int = 0
    failed: list[str] = field(default_factory=list)
    clients: list[LightClient] = field(default_factory=list)

    async def come(self) -> None:
        """All of them connect at once; returns when each is in or has failed."""
        said = json.dumps({"id": 1, "connect": {"token": token("ann")}})
        await asyncio.gather(*(self._one(said) for _ in range(self.count)))
        await eventually(lambda: self.connected + len(self.failed) >= self.count, "all are in", WITHIN)

    def leave(self) -> None:
        """All of them are gone."""
        for client in self.clients:
            client.abort()

    async def _one(self, said: str) -> None:
        def make() -> LightClient:
            return LightClient("127.0.0.1", "/connection/websocket", self._on_text, self._on_end)

        try:
            _, client = await asyncio.get_running_loop().create_connection(
                make, "127.0.0.1", self.port, local_addr=(self.source, 0)
            )
            self.clients.append(client)
            await client.opened
            client.send(said)
        except OSError as error:
            self.failed.append(repr(error))

    def _on_text(self, text: str) -> None:
        if '"id":1' in text:
            if '"error"' in text:
                self.failed.append(text)
            else:
                self.connected += 1

    def _on_end(self, code: int) -> None:
        if not self._leaving:
            self.failed.append(f"closed with {code}")

    @property
    def _leaving(self) -> bool:
        return self.connected >= self.count
