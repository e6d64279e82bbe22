"""Clients of the tests that speak the protocol themselves: what a raw client sees is exactly what was sent.

`RawClient` keeps everything it received, in order, parsed; pings are answered unless it is told to be silent.
It fails at once on what the official clients could not read: an empty line, a push without content.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import jwt
import websockets
from websockets.asyncio.client import ClientConnection, connect

from tests.cluster.support.harness import SECRET
from tests.cluster.support.processes import PATIENCE

Message = dict[str, Any]


def token(user: str = "", secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    """A connection token; with `channel` a subscription token. `ttl`: seconds until it expires."""
    ttl = claims.pop("ttl", None)
    payload = ({"sub": user} if user else {}) | ({"exp": int(time.time()) + ttl} if ttl is not None else {}) | claims
    return jwt.encode(payload, secret, algorithm=algorithm)


class RawClient:
    """One WebSocket connection. Use as `async with RawClient(url) as client`."""

    def __init__(self, url: str, *, silent: bool = False, read: bool = True, **options: Any) -> None:
        self.received: list[Message] = []
        self.pings: list[float] = []
        self.client = ""
        self._url = url
        self._silent = silent
        self._read = read
        self._options = options
        self._socket: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._news = asyncio.Condition()
        self._last_id = 0
        self._over = False

    async def __aenter__(self) -> "RawClient":
        self._socket = await connect(
            self._url, **{"max_size": None, "compression": None, "proxy": None} | self._options
        )
        if self._read:
            self.begin_reading()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._socket is not None:
            self._socket.transport.abort()
            await self._socket.wait_closed()
        if self._reader is not None:
            await self._reader

    def begin_reading(self) -> None:
        """Read what comes from now on; only for a client that was opened with read=False."""
        self._reader = asyncio.create_task(self._receive())

    @property
    def socket(self) -> ClientConnection:
        """The WebSocket under it."""
        assert self._socket is not None
        return self._socket

    def abort(self) -> None:
        """Lose the connection without a word, as a dead network does."""
        self.socket.transport.abort()

    # Out

    async def send(self, *commands: Message) -> None:
        """Send commands as one message."""
        await self.socket.send("\n".join(json.dumps(command) for command in commands))

    async def send_text(self, text: str) -> None:
        """Send a message as it is."""
        await self.socket.send(text)

    def command(self, method: str, /, **params: Any) -> Message:
        """A command with the next id."""
        self._last_id += 1
        return {"id": self._last_id, method: params}

    async def call(self, method: str, /, **params: Any) -> Message:
        """Send one command; returns its reply."""
        command = self.command(method, **params)
        await self.send(command)
        return await self.reply(command["id"])

    async def connect(self, user: str = "", **params: Any) -> Message:
        """Connect as a user by token, or with the parameters given; returns the result."""
        if user:
            params["token"] = token(user)
        result: Message = (await self.call("connect", **params))["connect"]
        self.client = result["client"]
        return result

    async def subscribe(self, channel: str, **params: Any) -> Message:
        """Subscribe; returns the result."""
        reply = await self.call("subscribe", channel=channel, **params)
        assert "subscribe" in reply, reply
        result: Message = reply["subscribe"]
        return result

    async def round_trip(self) -> None:
        """Have something answered: what the server sent before is then received."""
        await self.call("rpc", method="echo", data=1)

    async def error(self, method: str, /, **params: Any) -> int:
        """Send one command that must be answered with an error; returns its code."""
        reply = await self.call(method, **params)
        assert set(reply) == {"id", "error"}, reply
        assert reply["error"]["message"], reply
        return int(reply["error"]["code"])

    # In

    async def reply(self, id: int) -> Message:
        """The reply to a command."""
        return await self.wait(lambda m: m.get("id") == id, f"a reply to command {id}")

    async def push(self, kind: str, channel: str | None = None, within: float = PATIENCE, **body: Any) -> Message:
        """The first push of a kind whose body has all of `body`."""

        def fits(message: Message) -> bool:
            push = message.get("push", {})
            return kind in push and channel in (None, push.get("channel")) and body.items() <= push[kind].items()

        found = await self.wait(fits, f"a push {kind} in {channel} with {body}", within)
        result: Message = found["push"][kind]
        return result

    async def wait(self, fits: Callable[[Message], bool], what: str, within: float = PATIENCE) -> Message:
        """The first message that fits, of those received or to come."""
        looked_at = 0
        try:
            async with asyncio.timeout(within), self._news:
                while True:
                    for message in self.received[looked_at:]:
                        if fits(message):
                            return message
                    looked_at = len(self.received)
                    if self._over:
                        break
                    await self._news.wait()
        except TimeoutError:
            pass
        state = f"closed with {self.socket.close_code}" if self._over else "open"
        raise AssertionError(f"no {what} within {within} s; {state}; last: {self.received[-5:]}")

    async def closed(self, within: float = PATIENCE) -> tuple[int | None, str]:
        """Wait for the close; returns the code of the close frame and the reason of the push before it."""
        assert self._reader is not None
        try:
            await asyncio.wait_for(asyncio.shield(self._reader), within)
        except TimeoutError:
            raise AssertionError(f"not closed within {within} s; last: {self.received[-5:]}") from None
        pushes = [m["push"]["disconnect"] for m in self.received if "disconnect" in m.get("push", {})]
        code = self.socket.close_code
        if code is not None and code >= 3000:
            assert [push["code"] for push in pushes] == [code], (code, pushes)
            assert self.received[-1]["push"]["disconnect"] == pushes[0], "something followed the disconnect push"
        return code, pushes[0]["reason"] if pushes else ""

    def publications(self, channel: str) -> list[Message]:
        """All publications of a channel so far, recovered ones included, in the order a client would deliver them."""
        found: list[Message] = []
        for message in self.received:
            push = message.get("push", {})
            if push.get("channel") == channel and "pub" in push:
                found.append(push["pub"])
        return found

    def pushes(self, channel: str, *kinds: str) -> list[tuple[str, Message]]:
        """The pushes of a channel so far, in order, of the kinds given or of all."""
        return [
            (kind, body)
            for message in self.received
            if (push := message.get("push", {})).get("channel") == channel
            for kind, body in push.items()
            if kind != "channel" and (not kinds or kind in kinds)
        ]

    async def _receive(self) -> None:
        try:
            async for data in self.socket:
                await self._receive_one(data)
        except websockets.ConnectionClosed:
            pass
        finally:
            self._over = True
            async with self._news:
                self._news.notify_all()

    async def _receive_one(self, data: str | bytes) -> None:
        assert isinstance(data, str)
        for line in data.removesuffix("\n").split("\n"):
            await self._take(json.loads(line))

    async def _pong(self) -> None:
        await self.socket.send("{}")

    async def _take(self, message: Message) -> None:
        if not message:
            self.pings.append(time.monotonic())
            if not self._silent:
                with contextlib.suppress(websockets.ConnectionClosed):  # what came before the close is still read
                    await self._pong()
            return
        assert message.get("push", True), "an empty push"
        async with self._news:
            self.received.append(message)
            self._news.notify_all()
