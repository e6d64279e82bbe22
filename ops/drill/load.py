"""Clients for a drill: a room that talks at an even rate, some who come and go, and some HTTP beside it.

Runs in a thread of its own with an event loop of its own, from `start` to `stop`, and reconnects by itself, so that a
fault elsewhere does not end it. `flood` and `deaf` are the two ways to misbehave that drills need.
"""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlsplit

from flotilla._extras import MissingExtra
from flotilla.ops.drill.stack import Stack, post

try:
    import websockets
except ImportError as error:
    raise MissingExtra("the load of a drill", "ops", error.name or str(error)) from error

ROOM = "drill:room"
GUARDED = "guarded:room"  # where a hook decides who may
SUBSCRIBERS = 20  # on each instance
EVERY = 0.05  # seconds between publications of one publisher; one on each instance
FLOOD_PAUSE = 0.15  # seconds between 200 publications of a flood: commands count against `max_frames_per_second`
VISIT = 40  # messages until a visitor goes and comes back


class Load:
    """Even load on every instance of a stack."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self) -> None:
        """Begin."""
        self._thread.start()
        for instance in range(len(self._stack.instances)):
            for number in range(SUBSCRIBERS):
                self.spawn(f"subscriber-{instance}-{number}", lambda i=instance: _subscriber(self._url(i)))  # type: ignore[misc]
            self.spawn(f"publisher-{instance}", lambda i=instance: _publisher(self._url(i), EVERY))  # type: ignore[misc]
            self.spawn(f"visitor-{instance}", lambda i=instance: _visitor(self._url(i)))  # type: ignore[misc]
            self.spawn(f"http-{instance}", lambda i=instance: self._http(i))  # type: ignore[misc]

    def stop(self) -> None:
        """End it."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def spawn(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do something over and over until `end`."""

        def begin() -> None:
            self._tasks[name] = self._loop.create_task(_over_and_over(work))

        self._loop.call_soon_threadsafe(begin)

    def end(self, name: str) -> None:
        """Stop doing it."""
        self._loop.call_soon_threadsafe(lambda: self._tasks.pop(name).cancel())

    def flood(self, instance: int) -> None:
        """One client publishes far more than its limit, and less than a connection's budget of frames."""
        self.spawn("flood", lambda: _flood(self._url(instance)))

    def deaf(self, instance: int, count: int) -> None:
        """So many clients ask for much and read nothing; who is dropped comes again."""
        for number in range(count):
            self.spawn(f"deaf-{number}", lambda: _deaf(self._url(instance)))
        self.spawn("shout", lambda: _publisher(self._url(instance), 0.1, size=40_000, room="drill:loud"))

    def hear(self, count: int) -> None:
        """The deaf ones go."""
        for name in (*(f"deaf-{number}" for number in range(count)), "shout"):
            self.end(name)

    def lost(self, instance: int) -> None:
        """Clients come back, several a second, with a place that history never had."""
        self.spawn("lost", lambda: _lost(self._url(instance)))

    def _url(self, instance: int) -> str:
        return self._stack.url(instance).replace("http", "ws", 1) + "/connection/websocket"

    def _run(self) -> None:
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*asyncio.all_tasks(self._loop), return_exceptions=True))
        self._loop.close()

    async def _http(self, instance: int) -> None:
        url = self._stack.url(instance)
        headers = {"X-API-Key": self._stack.api_key, "Content-Type": "application/json"}
        said = {"channel": ROOM, "data": "by the API"}
        bodies = [json.dumps(said | more).encode() for more in ({}, {"durable": True})]
        while True:
            for body in bodies:
                await asyncio.to_thread(post, f"{url}/api/publish", body, headers)
            await asyncio.to_thread(post, f"{url}/admin/login/", b"", {})
            await asyncio.to_thread(post, f"{url}/nowhere", b"", {})
            await asyncio.sleep(0.2)


async def _over_and_over(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    while True:
        with contextlib.suppress(OSError, TimeoutError, websockets.WebSocketException, KeyError, json.JSONDecodeError):
            await work()
        await asyncio.sleep(0.2)


async def _subscriber(url: str) -> None:
    async with websockets.connect(url) as client:
        await _enter(client, ROOM)
        async for text in client:
            if text == "{}":
                await client.send("{}")


async def _publisher(url: str, every: float, size: int = 60, room: str = ROOM) -> None:
    async with websockets.connect(url) as client:
        await _enter(client, room)
        number = 10
        while True:
            number += 1
            await client.send(json.dumps({"id": number, "publish": {"channel": room, "data": "x" * size}}))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(every):
                    async for text in client:
                        if text == "{}":
                            await client.send("{}")


async def _visitor(url: str) -> None:
    """Comes back with the place where it left, again and again."""
    place: dict[str, Any] = {}
    while True:
        async with websockets.connect(url) as client:
            place = await _enter(client, ROOM, **place)
            await client.send(json.dumps({"id": 3, "presence_stats": {"channel": ROOM}}))
            await client.send(json.dumps({"id": 4, "subscribe": {"channel": GUARDED}}))
            for _ in range(VISIT):
                for line in str(await client.recv()).split("\n"):
                    publication = json.loads(line).get("push", {}).get("pub", {})
                    place["offset"] = publication.get("offset", place["offset"])


async def _flood(url: str) -> None:
    async with websockets.connect(url) as client:
        await _enter(client, ROOM)
        while True:
            commands = [{"id": 100 + number, "publish": {"channel": ROOM, "data": 0}} for number in range(200)]
            await client.send("\n".join(map(json.dumps, commands)))
            answered = 0
            while answered < len(commands):
                answered += str(await client.recv()).count('"id":')
            await asyncio.sleep(FLOOD_PAUSE)


async def _deaf(url: str) -> None:
    host, _, port = urlsplit(url).netloc.partition(":")
    with socket.socket() as small:
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        small.setblocking(False)
        await asyncio.get_running_loop().sock_connect(small, (host, int(port)))
        async with websockets.connect(url, sock=small, max_queue=1, close_timeout=0.1) as client:
            await _enter(client, "drill:loud")
            client.transport.pause_reading()
            await asyncio.sleep(10)


async def _lost(url: str) -> None:
    while True:
        async with websockets.connect(url) as client:
            await _enter(client, ROOM, epoch="another", offset=1)
        await asyncio.sleep(0.1)


async def _enter(client: Any, room: str, **place: Any) -> dict[str, Any]:
    """Connect and subscribe; gives the place in the stream."""
    recover = {"recover": True, **place} if place else {}
    await client.send('{"id":1,"connect":{}}')
    await client.send(json.dumps({"id": 2, "subscribe": {"channel": room, **recover}}))
    while True:
        for line in str(await client.recv()).split("\n"):
            message = json.loads(line)
            if message.get("id") == 2:
                result = message["subscribe"]
                return {"epoch": result["epoch"], "offset": result.get("offset", 0)}
