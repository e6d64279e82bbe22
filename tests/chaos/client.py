"""Clients of the protocol that write down what they are told: one that behaves, and those that do not.

A `Member` connects, subscribes, comes back with backoff and recovers from where it stood, as the SDKs do; it gives up a
command after 5 s, as they do. It believes nothing: every publication, join, end and reply goes to the log as it came.
Server-side subscriptions are logged like the others.
"""

import asyncio
import itertools
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

from tests.chaos.log import Closed, Delivered, Log, Opened, Seen, Subscribed, Told, Unanswered, Unsubscribed
from tests.chaos.wire import Place, Wire, open_wire

ANSWER_WITHIN = 5.0  # seconds, as the SDKs wait
FIRST_DELAY, MAX_DELAY = 0.2, 2.0
HELD_UP = 0.3  # seconds by which a timer is late when it is not the instance that is slow
MAX_WAITING = 12  # commands of a burster
PING, PING_SLACK = 3.0, 3.0  # the server's interval, and how much later a client gives the connection up

_numbers = itertools.count(1)


class Member:
    """One client. `where` gives the place of each try, `shielded` whether nothing stands between the two now.

    `channels` it subscribes to by itself; `server_side` come with its token. `positions`: (epoch, offset) by channel.
    """

    def __init__(
        self,
        name: str,
        log: Log,
        where: Callable[[], Place],
        token: str,
        channels: tuple[str, ...] = (),
        server_side: tuple[str, ...] = (),
        shielded: Callable[[], bool] = lambda: True,
    ) -> None:
        self.name = name
        self.channels = set(channels)
        self.server_side = server_side
        self.client = ""
        self.positions: dict[str, tuple[str, int]] = {}
        self.live: set[str] = set()
        self.freshest: dict[str, float] = {}  # when the newest publication that it got was sent, by channel
        self._log = log
        self._where = where
        self._token = token
        self._shielded = shielded
        self._wire: Wire | None = None
        self._conn = 0
        self._ids = itertools.count(1)
        self._asked: dict[int, tuple[str, dict[str, Any], float, asyncio.TimerHandle]] = {}
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._ended: asyncio.Future[int] | None = None
        self._task: asyncio.Task[None] | None = None
        self._wanted = False

    # ---- its life

    def start(self) -> None:
        """Come, and stay until `leave`."""
        self._wanted = True
        self._task = asyncio.get_running_loop().create_task(self._stay())

    async def leave(self, how: str = "close") -> None:
        """Go for good: "close" in order, "abort" without a word, "unsubscribe" first."""
        self._wanted = False
        if self._wire is not None:
            if how == "abort":
                self._wire.abort(0)
            else:
                if how == "unsubscribe":
                    await asyncio.gather(
                        *(self.ask("unsubscribe", {"channel": channel}) for channel in sorted(self.channels)),
                        return_exceptions=True,
                    )
                if self._wire is not None:
                    self._wire.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def here(self) -> bool:
        """Whether it is connected and in all its channels."""
        return self._wire is not None and self.live >= self.channels.union(self.server_side)

    @property
    def wire(self) -> Wire | None:
        """Its connection, while it has one."""
        return self._wire

    def drop(self) -> None:
        """Lose the connection without a word, and come back."""
        if self._wire is not None:
            self._wire.abort()

    async def _stay(self) -> None:
        delay = FIRST_DELAY
        while self._wanted:
            began = self._log.now
            try:
                await self._once()
            except (OSError, TimeoutError):
                pass
            if self._log.now - began > 5:
                delay = FIRST_DELAY
            await asyncio.sleep(delay * random.uniform(0.5, 1.5))
            delay = min(delay * 2, MAX_DELAY)

    async def _once(self) -> None:
        self._ended = asyncio.get_running_loop().create_future()
        self._conn, self.client = next(_numbers), ""
        wire = await open_wire(self._where(), self._texts, self._end)
        self._wire = wire
        try:
            subs = {
                channel: {"recover": True, "epoch": epoch, "offset": offset}
                for channel in self.server_side
                if (position := self.positions.get(channel))
                for epoch, offset in (position,)
            }
            connect = {"token": self._token} | ({"subs": subs} if subs else {})
            self._ask("connect", connect)
            await self._until_silent(wire)
        finally:
            self._wire = None
            wire.abort(0)
            self._forget()

    async def _until_silent(self, wire: Wire) -> None:
        assert self._ended is not None
        loop = asyncio.get_running_loop()
        while True:
            done, _ = await asyncio.wait((self._ended,), timeout=1.0)
            if done:
                return
            if loop.time() - wire.heard > PING + PING_SLACK:
                wire.abort()
                await self._ended
                return

    def _end(self, code: int) -> None:
        if self.client:
            self._log.append(Closed(self._log.now, self._conn, code))
        self.client = ""
        self._forget()
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(code)

    def _forget(self) -> None:
        self.live.clear()
        for _, _, _, timer in self._asked.values():
            timer.cancel()
        self._asked.clear()
        for answer in self._answers.values():
            if not answer.done():
                answer.cancel()
        self._answers.clear()

    # ---- what it says

    def command(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """A command with an id, noted as asked."""
        number = next(self._ids)
        timer = asyncio.get_running_loop().call_later(ANSWER_WITHIN, self._late, number, self._shielded())
        self._asked[number] = name, body, self._log.now, timer
        return {"id": number, name: body}

    def _ask(self, name: str, body: dict[str, Any]) -> int:
        command = self.command(name, body)
        if self._wire is not None:
            self._wire.send(command)
        return int(command["id"])

    async def ask(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """Send a command and return its reply. Is cancelled when the connection ends."""
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[self._ask(name, body)] = answer
        return await answer

    def say(self, *commands: dict[str, Any]) -> None:
        """Send several commands (`command`) in one message."""
        if self._wire is not None:
            self._wire.send(*commands)

    def subscribe(self, channel: str) -> dict[str, Any]:
        """The subscribe command for a channel, from where this client stands in it."""
        wish: dict[str, Any] = {"channel": channel}
        if channel in self.positions:
            epoch, offset = self.positions[channel]
            wish |= {"recover": True, "epoch": epoch, "offset": offset}
        return self.command("subscribe", wish)

    def _subscribe_later(self, channel: str) -> None:
        conn = self._conn

        def again() -> None:
            if self._conn == conn and self.client and channel in self.channels and channel not in self.live:
                self.say(self.subscribe(channel))

        asyncio.get_running_loop().call_later(random.uniform(0.2, 0.8), again)

    def _late(self, number: int, shielded: bool) -> None:
        if number in self._asked and self._wire is not None and not self._wire.closing:
            name, _, asked, _ = self._asked[number]
            in_time = self._log.now - asked < ANSWER_WITHIN + HELD_UP  # else this process was held up, or the machine
            shielded = shielded and in_time and self._shielded()
            self._log.append(Unanswered(self._log.now, self._conn, name, asked, shielded))
            self._wire.abort()

    # ---- what it is told

    def _texts(self, text: bytes) -> None:
        for line in text.split(b"\n"):
            message = json.loads(line)
            if not message:
                if self._wire is not None:
                    self._wire.send({})
            elif "id" in message:
                self._reply(message)
            else:
                self._push(message["push"])

    def _reply(self, message: dict[str, Any]) -> None:
        number = message["id"]
        name, body, _, timer = self._asked.pop(number, ("", {}, 0.0, None))
        if timer is not None:
            timer.cancel()
        if (answer := self._answers.pop(number, None)) is not None and not answer.done():
            answer.set_result(message)
        if "error" in message:
            self._refused(name, body, message["error"])
        elif name == "connect":
            self._connected(message["connect"])
        elif name == "subscribe":
            self._subscribed(body["channel"], message["subscribe"], body)
        elif name == "unsubscribe":
            self.live.discard(body["channel"])
            self._log.append(Unsubscribed(self._log.now, self._conn, body["channel"]))

    def _refused(self, name: str, body: dict[str, Any], error: dict[str, Any]) -> None:
        if name == "connect" and self._wire is not None:
            self._wire.abort()
        elif name == "subscribe" and error["code"] != 105:
            self._subscribe_later(body["channel"])

    def _connected(self, result: dict[str, Any]) -> None:
        self.client = result["client"]
        self._log.append(Opened(self._log.now, self._conn, self.name, self.client))
        for channel, subscription in result.get("subs", {}).items():
            epoch, offset = self.positions.get(channel, ("", 0))
            claim = {"recover": True, "epoch": epoch, "offset": offset} if channel in self.positions else {}
            self._subscribed(channel, subscription, claim)
        self.greet()

    def greet(self) -> None:
        """Connected: what it says first."""
        if self.channels:
            self.say(*(self.subscribe(channel) for channel in sorted(self.channels)))

    def _subscribed(self, channel: str, result: dict[str, Any], wish: dict[str, Any]) -> None:
        epoch, offset = result.get("epoch", ""), result.get("offset", 0)
        claimed = (wish["epoch"], wish["offset"]) if wish.get("recover") else None
        recovered = bool(result.get("recovered"))
        self._log.append(Subscribed(self._log.now, self._conn, channel, epoch, offset, claimed, recovered))
        self.live.add(channel)
        if epoch:
            self.positions[channel] = epoch, claimed[1] if recovered and claimed else offset
        for publication in result.get("publications", ()):
            self._publication(channel, publication)

    def _publication(self, channel: str, publication: dict[str, Any]) -> None:
        data, offset = publication["data"], publication.get("offset", 0)
        self._log.append(Delivered(self._log.now, self._conn, channel, offset, data["n"]))
        self._log.deliveries += 1
        if offset and channel in self.positions:
            self.positions[channel] = self.positions[channel][0], offset
        self.freshest[channel] = max(self.freshest.get(channel, 0.0), data["t"])

    def _push(self, push: dict[str, Any]) -> None:
        channel = push.get("channel", "")
        if "pub" in push:
            self._publication(channel, push["pub"])
        elif "join" in push or "leave" in push:
            kind = "join" if "join" in push else "leave"
            client = push[kind]["info"]["client"]
            self._log.append(Seen(self._log.now, self._conn, channel, client, kind == "join"))
        elif "unsubscribe" in push:
            code = push["unsubscribe"]["code"]
            self._log.append(Told(self._log.now, self._conn, channel, code))
            self.live.discard(channel)
            if code >= 2500:
                self._subscribe_later(channel)
        elif "subscribe" in push:
            self._subscribed(channel, push["subscribe"], {})


class Liar(Member):
    """Claims positions that it never had. `lie` makes one from what it was last told truthfully."""

    def __init__(self, *arguments: Any, lie: Callable[[str, int], tuple[str, int]], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._lie = lie
        self.told = 0

    def lie(self) -> None:
        """Leave its channels and claim something else in each, in one message."""
        if not self.client or len(self._asked) > MAX_WAITING:
            return
        for channel in sorted(self.channels):
            if channel in self.positions:
                self.positions[channel] = self._lie(*self.positions[channel])
            self.say(self.command("unsubscribe", {"channel": channel}), self.subscribe(channel))
            self.told += 1


class Burster(Member):
    """Subscribes and unsubscribes faster than it is answered, and always ends subscribed."""

    def burst(self, pairs: int) -> None:
        """`pairs` times out and in again, in one message, all channels at a time; not while much is unanswered."""
        if not self.client or len(self._asked) > MAX_WAITING:
            return
        commands = []
        for _ in range(pairs):
            for channel in sorted(self.channels):
                self.positions.pop(channel, None)
                commands += [self.command("unsubscribe", {"channel": channel}), self.subscribe(channel)]
        self.say(*commands)

    def greet(self) -> None:
        """In, out and in again in the first message, as React's StrictMode does."""
        for channel in sorted(self.channels):
            self.positions.pop(channel, None)
            self.say(
                self.subscribe(channel), self.command("unsubscribe", {"channel": channel}), self.subscribe(channel)
            )


async def never_read(port: Place, token: str, channels: tuple[str, ...], until: Awaitable[Any]) -> int:
    """Subscribe, read no more from then on, and return the code with which the connection ended, 0 if it did not."""
    ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    codes: list[int] = []

    def read(text: bytes) -> None:
        for line in text.split(b"\n"):
            message = json.loads(line)
            if code := message.get("push", {}).get("disconnect", {}).get("code"):
                codes.append(code)

    def end(code: int) -> None:
        if not ended.done():
            ended.set_result(codes[-1] if codes else code)

    wire = await open_wire(port, read, end, receive_buffer=4096)
    try:
        subscribes = [{"id": 2 + i, "subscribe": {"channel": channel}} for i, channel in enumerate(channels)]
        wire.send({"id": 1, "connect": {"token": token}}, *subscribes)
        wire.stop_reading()
        await until
        return ended.result() if ended.done() else 0
    finally:
        wire.abort()
