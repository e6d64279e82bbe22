"""What is asked over HTTP: publications and calls of the API, pages of the admin, the state of live models, health and
metrics; and what no honest client says.
"""

import asyncio
import itertools
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from tests.chaos.publishers import HttpCaller
from tests.cluster.support.harness import API_KEY
from tests.cluster.support.light_client import open_light
from tests.cluster.support.processes import PATIENCE
from tests.cluster.support.streamed import asked, request
from tests.soak.members import OTHERS, ROOMS, Tally, token
from tests.soak.world import World

CALLERS = 8  # connections that are kept for the API
BLOCKED_FOR = 3.0  # seconds
FLOOD = 30  # publications, of which a limit admits few
ADMIN = (
    "instance/",
    "channel/",
    "channel/?q=room*",
    "channel/room_3A1/change/",
    "connecteduser/",
    "connecteduser/?o=-connections",
    "connection/",
    "connection/?channel=room:1",
    "connection/?o=-waiting",
    "block/",
)
PAGES = ("/", "/admin/", "/nowhere", "/health/live", "/health/ready", "/api/openapi.json", "/static/admin/css/base.css")
MALFORMED = (
    "{",
    '{"id":1,"connect":{"token":7}}',
    '{"id":1,"nothing":{}}',
    '{"id":1,"subscribe":{"channel":"room:1"}}',
    "[" * 500,
    "\x00",
)


class Asking:
    """`publish`, `ask` and `be_hostile` are one piece of work each, another one every time."""

    def __init__(self, world: World, tally: Tally, turning: Callable[[], str]) -> None:
        self._world, self._tally, self._turning = world, tally, turning
        self._idle = [HttpCaller(lambda: world.port, API_KEY) for _ in range(CALLERS)]
        self._free = asyncio.Semaphore(CALLERS)
        self._numbers = itertools.count(1)
        self._last_turning = "turn:0"

    def close(self) -> None:
        """Give the connections up."""
        for caller in self._idle:
            caller.close()

    # ---- publications

    async def publish(self) -> None:
        """One publication: with history and without, deltas, tags, keys, maps, versions, durable, into several."""
        number = next(self._numbers)
        what, channel = number % 25, f"room:{number % ROOMS}"
        other, data = number % OTHERS, {"n": number, "text": "x" * random.randrange(20, 400)}
        if what < 12:
            await self._call("publish", channel=channel, data=data)
        elif what < 14:
            await self._call("publish", channel=f"plain:{other}", data=data)
        elif what < 16:
            name = self._turning() if what == 14 else self._last_turning
            self._last_turning = name
            await self._call("publish", channel=name, data=data, idempotency_key=f"once-{number}")
        elif what == 16:
            await self._call("publish", channel=f"price:{other}", data=data)
        elif what == 17:
            await self._call("publish", channel=f"tagged:{other}", data=data, tags={"of": str(number % 4)})
        elif what == 18:
            await self._call("publish", channel=f"board:{other}", data=data, key=f"k{number % 30}")
        elif what == 19:
            await self._call("publish", channel=f"last:{other}", data=data, version=number)
        elif what == 20:
            await self._call("map_publish", channel=f"map:{other}", key=f"k{number % 500}", data=data)
        elif what == 21:
            await self._call("publish", channel=f"kept:{other}", data=data)  # durable
        elif what == 22:
            await self._call("broadcast", channels=[channel, f"plain:{other}"], data=data)
        elif what == 23:
            commands = [{"publish": {"channel": f"room:{one}", "data": data}} for one in range(3)]
            await self._call("batch", commands=commands, parallel=True)
        else:
            await self._call("publish", channel=channel, data=data, skip_history=True)

    # ---- requests

    async def ask(self) -> None:
        """One request of another kind."""
        await random.choice((self._call_for_something, self._look, self._change, self._state))()

    async def _call_for_something(self) -> None:
        room = f"room:{random.randrange(ROOMS)}"
        method, params = random.choice(
            (
                ("presence", {"channel": room}),
                ("presence_stats", {"channel": room}),
                ("history", {"channel": room, "limit": 20}),
                ("history_remove", {"channel": f"price:{random.randrange(OTHERS)}"}),
                ("map_read_state", {"channel": f"map:{random.randrange(OTHERS)}"}),
                ("map_remove", {"channel": f"map:{random.randrange(OTHERS)}", "key": f"k{random.randrange(500)}"}),
                ("channels", {"pattern": "turn:*"}),
                ("info", {}),
                ("subscribe", {"user": self._somebody(), "channel": f"plain:{random.randrange(OTHERS)}"}),
                ("unsubscribe", {"user": self._somebody(), "channel": room}),
                ("refresh", {"user": self._somebody(), "expire_at": 0}),
                ("reauthorize", {"user": self._somebody()}),
            )
        )
        await self._call(method, **params)

    async def _look(self) -> None:
        """A page; the admin's with the session."""
        if random.random() < 0.5:
            await self._get(
                f"/admin/flotilla_realtime/{random.choice(ADMIN)}", cookie=f"sessionid={self._world.session}"
            )
        else:
            await self._get(random.choice(PAGES))

    async def _change(self) -> None:
        """Rows of live models; now and then a user is ended or blocked for a moment."""
        chance = random.random()
        if chance < 0.85:
            await self._call("rpc", method="soak.card", params={})
        elif chance < 0.9:
            await self._call("disconnect", user=self._somebody())
        elif chance < 0.95:
            await self._call("rpc", method="soak.block", params={"user": self._somebody(), "seconds": BLOCKED_FOR})
        else:
            user = self._somebody()
            await self._call("rpc", method="soak.block", params={"user": user, "seconds": 60})
            await self._call("rpc", method="soak.unblock", params={"user": user})

    async def _state(self) -> None:
        await self._get(f"/flotilla/state/cards:{random.randint(1, 4)}", authorization=f"Bearer {token('reader')}")

    async def leak(self, what: str, size: int) -> None:
        """Have whoever answers keep something for ever."""
        await self._call("rpc", method="soak.leak", params={"what": what, "size": size})

    # ---- hostilities

    async def be_hostile(self) -> None:
        """One thing that is refused."""
        await random.choice(
            (self._wrong_token, self._malformed, self._flood, self._limited, self._no_key, self._half_a_handshake)
        )()

    async def _wrong_token(self) -> None:
        await self._say(f'{{"id":1,"connect":{{"token":"{token("eve")}x"}}}}')

    async def _malformed(self) -> None:
        await self._say(random.choice(MALFORMED))

    async def _flood(self) -> None:
        """More than the limit of its namespace gives."""
        publish = '{{"id":{},"publish":{{"channel":"flood:1","data":{{}}}}}}'
        user = f"flooder-{next(self._numbers)}"
        lines = [f'{{"id":1,"connect":{{"token":"{token(user)}"}}}}', *(publish.format(n) for n in range(2, FLOOD))]
        await self._say("\n".join(lines), until=f'"id":{FLOOD - 1},')

    async def _limited(self) -> None:
        for _ in range(8):
            await self._get("/limited/plain", fine=(200, 429))

    async def _no_key(self) -> None:
        body = b'{"channel":"room:1","data":1}'
        async with asked(self._world.port, request("POST", "/api/publish", body, X_API_Key="wrong")) as answer:
            assert answer.status == 401, answer.status

    async def _half_a_handshake(self) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", self._world.port)
        writer.write(b"GET /connection/websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgra")
        await asyncio.sleep(random.uniform(0.0, 1.0))
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()

    async def _say(self, text: str, until: str = "") -> None:
        """Say something on a connection of its own, and go when it is answered or ended."""
        done = asyncio.Event()

        def take(answer: str) -> None:
            if not until or until in answer:
                done.set()

        client = await open_light(self._world.url, take, lambda code: done.set())
        self._tally.held += 1
        try:
            client.send(text)
            await asyncio.wait_for(done.wait(), PATIENCE)
        finally:
            client.abort()
            self._tally.held -= 1

    # ---- how

    def _somebody(self) -> str:
        """A user who may be there."""
        return f"user-{random.randrange(max(1, self._tally.done['newcomers'] // 3 + 1))}"

    async def _call(self, method: str, /, **params: Any) -> None:
        """Call the API. Raises OSError, TimeoutError, ValueError."""
        async with self._free:
            caller = self._idle.pop()
            try:
                answer = await caller.call(method, params, PATIENCE)
            finally:
                self._idle.append(caller)
        if "error" in answer:
            raise ValueError(f"{method} {answer['error']['code']}")

    async def _get(self, path: str, fine: tuple[int, ...] = (200, 302, 304, 404), **headers: str) -> None:
        async with asked(self._world.port, request("GET", quote(path, safe="/?=&:*-"), **headers)) as answer:
            await answer.rest()
            assert answer.status in fine, f"{path}: {answer.status}"
