"""Clients that come, stay for a while and go: over WebSocket in JSON and in Protobuf, by HTTP streaming, server-sent
events, and as listeners. Each goes in one of the ways there are; some come back soon and recover.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from tests.chaos.wire import token as signed
from tests.cluster.support.harness import SECRET
from tests.cluster.support.light_client import LightClient, open_light
from tests.cluster.support.protobuf_client import ProtobufClient
from tests.cluster.support.streamed import emulate, http_stream, sse, uni_sse
from tests.soak.world import PING_INTERVAL

ROOMS, OTHERS = 20, 5  # channels of a kind
AWAY = (0.5, 4.0)  # seconds of a short absence
ANSWERED_WITHIN = 15.0
SILENT_FOR = 40.0  # seconds after which a silent client must have been ended
TURNING = 2  # channels that a client has at most of those that come and go
RUDELY = 0.4  # of those who go: without a close
SILENTLY = 0.04  # of those who go: without a word or an answer to pings, until they are ended
AGAIN = 0.3  # of those who go: they come back and recover
CHOICES: tuple[tuple[float, str, dict[str, Any]], ...] = (
    (8, "room:{room}", {}),
    (2, "price:{other}", {"delta": "fossil"}),
    (2, "tagged:{other}", {"tf": {"key": "of", "cmp": "in", "vals": ["1", "2"]}}),
    (1, "last:{other}", {}),
    (1, "board:{other}", {}),
    (1, "map:{other}", {"type": 1, "phase": 2}),
    (1, "cursors:{other}", {"type": 1, "phase": 2}),
    (1, "lobby:{other}", {}),
    (1, "$clients:lobby:{other}", {"type": 2, "phase": 2}),
    (1, "cards:{board}", {}),
    (1, "kept:{other}", {}),
    (1, "plain:{other}", {}),
)


def token(user: str, **claims: Any) -> str:
    """A connection token."""
    return signed(SECRET, user, **claims)


def choose(count: int) -> dict[str, dict[str, Any]]:
    """Some channels of different kinds, with the parameters of their subscriptions."""
    weights = [weight for weight, _, _ in CHOICES]
    found = {}
    for _, name, more in random.choices(CHOICES, weights, k=count):
        numbers = {"room": random.randrange(ROOMS), "other": random.randrange(OTHERS), "board": random.randint(1, 4)}
        found[name.format(**numbers)] = more
    return found


@dataclass
class Tally:
    """What the clients have done and seen, and how many connections they hold now."""

    done: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)  # by what was asked, and the code or exception
    held: int = 0


class Client:
    """One client over WebSocket, in JSON; `channels` are those it has subscribed to or is about to."""

    def __init__(self, url: str, user: str, tally: Tally) -> None:
        self.user = user
        self.channels = choose(3)
        self.turning: list[str] = []
        self.connected = False
        self._url, self._tally = url, tally
        self._positions: dict[str, tuple[str, int]] = {}
        self._asked: dict[int, tuple[str, dict[str, Any]]] = {}
        self._socket: LightClient | None = None
        self._last_id = 0
        self._mute = False
        self._ended = asyncio.Event()

    async def open(self, recover: bool = False) -> None:
        """Connect and subscribe, in one message. Raises OSError, TimeoutError."""
        self._ended.clear()
        self._asked.clear()
        self._socket = await open_light(self._url, self._take, self._gone)
        self._tally.held += 1
        self._tally.done["connects"] += 1
        commands = [self._command("connect", {"token": token(self.user)} if self.user else {})]
        for channel, more in self.channels.items():
            since = self._positions.get(channel) if recover and "type" not in more else None
            back = {"recover": True, "epoch": since[0], "offset": since[1]} if since else {}
            commands.append(self._command("subscribe", {"channel": channel, **more, **back}))
            self._tally.done["recoveries" if since else "subscriptions"] += 1
        self._socket.send("\n".join(commands))

    def ask(self, method: str, /, **params: Any) -> None:
        """Send a command, whose answer is only looked at for errors."""
        if self._socket is not None and self.connected:
            self._socket.send(self._command(method, params))

    def say(self, text: str) -> None:
        """Send whatever it is."""
        if self._socket is not None and not self._ended.is_set():
            self._socket.send(text)

    def turn(self, channel: str) -> None:
        """Go to a channel that others will leave soon, too; leave the oldest of them."""
        if channel not in self.turning and self.connected:
            self.turning.append(channel)
            self.ask("subscribe", channel=channel)
            self._tally.done["subscriptions"] += 1
            if len(self.turning) > TURNING:
                self.ask("unsubscribe", channel=self.turning.pop(0))
                self._tally.done["unsubscriptions"] += 1

    async def leave(self) -> bool:
        """Go, in some way; whether to come back."""
        how = random.random()
        if how < SILENTLY:
            self._mute = True
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), SILENT_FOR)
            self._tally.done["ended as silent"] += self._ended.is_set()
        self.close(rudely=how < SILENTLY + RUDELY)
        await self._ended.wait()
        return how > 1 - AGAIN

    def close(self, rudely: bool = False) -> None:
        """Go now."""
        if self._socket is not None and self._socket.transport is not None and not self._ended.is_set():
            if not rudely:
                self._socket.transport.write(b"\x88\x82\0\0\0\0\x03\xe8")
                self._socket.transport.close()
            else:
                self._socket.abort()

    async def stay(self, seconds: float) -> None:
        """Be there for a time, or until it is ended by others."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), seconds)

    def _command(self, method: str, params: dict[str, Any]) -> str:
        self._last_id += 1
        self._asked[self._last_id] = method, params
        return json.dumps({"id": self._last_id, method: params})

    def _gone(self, code: int) -> None:
        self.connected = False
        self.turning.clear()
        self._asked.clear()
        self._ended.set()
        self._tally.held -= 1
        if code >= 3000:
            self._tally.errors[f"disconnect {code}"] += 1

    def _take(self, text: str) -> None:
        for line in text.split("\n"):
            if line == "{}":
                if not self._mute:
                    self.say("{}")
            elif line:
                message = json.loads(line)
                if "push" in message:
                    self._push(message["push"])
                else:
                    self._reply(message)

    def _push(self, push: dict[str, Any]) -> None:
        if "pub" in push:
            self._tally.done["deliveries"] += 1
            channel = push.get("channel", "")
            if channel in self._positions and "offset" in push["pub"]:
                self._positions[channel] = self._positions[channel][0], push["pub"]["offset"]

    def _reply(self, message: dict[str, Any]) -> None:
        method, params = self._asked.pop(message["id"], ("", {}))
        if "error" in message:
            self._tally.errors[f"{method} {message['error']['code']}"] += 1
        elif method == "connect":
            self.connected = True
        elif method == "subscribe":
            self._subscribed(params, message["subscribe"])

    def _subscribed(self, params: dict[str, Any], result: dict[str, Any]) -> None:
        if "epoch" in result:
            self._positions.setdefault(params["channel"], (result["epoch"], result.get("offset", 0)))
            self._positions[params["channel"]] = result["epoch"], result.get("offset", 0)
        if "recovered" in result:
            self._tally.done["recovered"] += bool(result["recovered"])
        if result.get("phase"):  # a map: the next page, or what has changed since the first
            place = {"epoch": params.get("epoch", result.get("epoch", ""))}
            place["offset"] = params.get("offset", result.get("offset", 0))
            more = {"cursor": result["cursor"], "phase": 2} if result.get("cursor") else {"phase": 1}
            self.ask("subscribe", channel=params["channel"], type=params["type"], **place, **more)


async def over_websocket(client: Client, life: Callable[[], float]) -> None:
    """A client's whole life, with all its comebacks."""
    again = False
    while True:
        await client.open(again)
        await client.stay(life())
        if not await client.leave():
            return
        await asyncio.sleep(random.uniform(*AWAY))
        again = True


async def in_protobuf(url: str, user: str, tally: Tally, life: Callable[[], float]) -> None:
    """A client in Protobuf."""
    async with ProtobufClient(url) as client:
        tally.held += 1
        tally.done["connects"] += 1
        try:
            if "connect" not in await client.call("connect", **({"token": token(user)} if user else {})):
                raise ValueError("not let in")
            for channel in choose(2):
                if not channel.startswith(("$", "map", "cursors")):
                    await client.call("subscribe", channel=channel)
                    tally.done["subscriptions"] += 1
            await asyncio.sleep(life())
            if random.random() > RUDELY:
                await client.socket.close()
        finally:
            tally.held -= 1


async def by_stream(port: int, user: str, tally: Tally, life: Callable[[], float]) -> None:
    """A client by HTTP streaming or server-sent events, which speaks in requests of their own."""
    commands: list[dict[str, Any]] = [{"id": 1, "connect": {"token": token(user)} if user else {}}]
    channels = [channel for channel in choose(2) if not channel.startswith(("$", "map", "cursors"))]
    commands += [{"id": number, "subscribe": {"channel": channel}} for number, channel in enumerate(channels, 2)]
    make = random.choice((http_stream, sse))
    async with make(port, *commands) as stream:
        tally.held += 1
        tally.done["connects"] += 1
        tally.done["subscriptions"] += len(channels)
        try:
            connected = await stream.find("connect")
            answering = asyncio.create_task(_answer(port, connected))
            try:
                async with asyncio.timeout(life()):
                    while True:
                        await stream.find("pub")
                        tally.done["deliveries"] += 1
            finally:
                answering.cancel()
                await asyncio.gather(answering, return_exceptions=True)
        except TimeoutError:
            pass
        except EOFError:
            tally.errors["a stream that was ended"] += 1
        finally:
            tally.held -= 1


async def _answer(port: int, connected: dict[str, Any]) -> None:
    """Pings, whenever there may be one."""
    while True:
        await asyncio.sleep(PING_INTERVAL * 0.7)
        await emulate(port, connected, {})


async def as_listener(port: int, user: str, tally: Tally, life: Callable[[], float]) -> None:
    """A listener, whose channels stand in its address."""
    query = f"channel=room:{random.randrange(ROOMS)}&channel=tagged:{random.randrange(OTHERS)}"
    async with uni_sse(port, f"{query}&token={quote(token(user))}") as stream:
        tally.held += 1
        tally.done["connects"] += 1
        try:
            async with asyncio.timeout(life()):
                while True:
                    await stream.pub()
                    tally.done["deliveries"] += 1
        except TimeoutError:
            pass
        except EOFError:
            tally.errors["a stream that was ended"] += 1
        finally:
            tally.held -= 1


def port_of(url: str) -> int:
    """Of an address that names one."""
    port = urlsplit(url).port
    assert port is not None
    return port
