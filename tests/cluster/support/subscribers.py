"""Subscribers that come back by themselves, and the count of what they lost, got twice or out of order.

`CONFIG` has the namespace of their rooms (`proof:…`), whose history holds everything: what a subscriber missed while it
was away, it can recover.
"""

import asyncio
import json
import random
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import websockets
from websockets.asyncio.client import connect

CONFIG: dict[str, Any] = {
    "anonymous": True,
    "show_instance": True,
    "recovery_max_publications": 100_000,
    "recovery_max_bytes": 64 * 2**20,
    "max_outgoing_bytes": 64 * 2**20,
    "namespaces": {
        "proof": {
            "history_size": 100_000,
            "history_ttl": "1h",
            "force_recovery": True,
            "presence": True,
            "allow_subscribe_for_client": True,
            "allow_subscribe_for_anonymous": True,
        }
    },
}


OPTIONS: dict[str, Any] = {"max_size": None, "compression": None, "proxy": None, "open_timeout": 5}


@dataclass
class Subscriber:
    """A client of the protocol that comes back by itself. `offsets`: what was delivered, in order."""

    url: str
    channel: str
    offsets: list[int] = field(default_factory=list)
    epoch: str = ""
    offset: int = 0
    reconnects: int = -1
    unrecovered: int = 0
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Stay connected until cancelled."""
        while True:
            try:
                async with connect(self.url, additional_headers=self.headers(), **OPTIONS) as socket:
                    self.reconnects += 1
                    try:
                        await self._stay(socket)
                    finally:
                        self.closed(socket.close_code)
            except (OSError, TimeoutError, websockets.WebSocketException):
                pass
            self.lost()
            await asyncio.sleep(random.uniform(0.1, 0.6))

    def credentials(self) -> dict[str, Any]:
        """The parameters of connect."""
        return {}

    def headers(self) -> dict[str, str]:
        """Those of the handshake."""
        return {}

    def refused(self, message: dict[str, Any]) -> None:
        """An error was the answer, or the subscription was ended: it connects again."""

    def closed(self, code: int | None) -> None:
        """The connection ended with this code; None: it was left."""

    def lost(self) -> None:
        """The connection has ended, or there was none to be had."""

    async def _stay(self, socket: websockets.asyncio.client.ClientConnection) -> None:
        wish: dict[str, Any] = {"channel": self.channel}
        if self.epoch:
            wish |= {"recover": True, "epoch": self.epoch, "offset": self.offset}
        commands = {"id": 1, "connect": self.credentials()}, {"id": 2, "subscribe": wish}
        await socket.send("\n".join(map(json.dumps, commands)))
        async for text in socket:
            for line in str(text).split("\n"):
                message = json.loads(line)
                if not message:
                    await socket.send("{}")
                elif "error" in message or message.get("push", {}).get("unsubscribe"):
                    self.refused(message)
                    return
                elif "connect" in message:
                    self.connected(message["connect"])
                elif "subscribe" in message:
                    self.subscribed(message["subscribe"])
                elif publication := message.get("push", {}).get("pub"):
                    self._take(publication)

    def connected(self, result: dict[str, Any]) -> None:
        """The reply to connect."""

    def subscribed(self, result: dict[str, Any]) -> None:
        """The reply to subscribe."""
        if result.get("was_recovering") and not result.get("recovered"):
            self.unrecovered += 1
        for publication in result.get("publications", ()):
            self._take(publication)
        if not self.epoch:
            self.offset = result.get("offset", 0)
        self.epoch = result["epoch"]
        self.ready.set()

    def _take(self, publication: dict[str, Any]) -> None:
        self.offset = publication["offset"]
        self.offsets.append(self.offset)


@dataclass
class Faults:
    """What went wrong, over all subscribers."""

    gaps: int = 0
    duplicates: int = 0
    reorders: int = 0

    def count(self, offsets: list[int], total: int) -> None:
        """Compare what one subscriber got with 1..total."""
        self.gaps += total - len(set(offsets))
        self.duplicates += len(offsets) - len(set(offsets))
        self.reorders += sum(1 for before, after in pairwise(offsets) if after < before)
