"""Those who publish, and write down what was acknowledged: over the HTTP API, and over WebSocket.

Over HTTP a publication is asked for until it is answered, under one idempotency key, at whichever instance answers: so
each must be there once. Over WebSocket nothing is repeated: what was not answered may be there or not.
"""

import asyncio
import itertools
import json
import random
from collections.abc import Callable
from typing import Any

from tests.chaos.client import Member
from tests.chaos.log import Acknowledged, Granted, Log
from tests.chaos.wire import Place, address

ANSWER_WITHIN = 5.0  # seconds
MAX_BEHIND = 4.0  # seconds of publications that are made up for after a stall

_payloads = itertools.count(1)


def publication(log: Log, size: int = 40) -> tuple[int, dict[str, Any]]:
    """A payload's number, and the payload: nobody else has the same."""
    number = next(_payloads)
    return number, {"n": number, "t": round(log.now, 4), "x": "·" * (size // 2)}


class HttpCaller:
    """One kept connection to the HTTP API of one address at a time. `where` gives the place of each connection."""

    def __init__(self, where: Callable[[], Place], api_key: str) -> None:
        self._where = where
        self._key = api_key
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def call(self, method: str, params: dict[str, Any], within: float = ANSWER_WITHIN) -> dict[str, Any]:
        """The answer to one request. Raises OSError, TimeoutError, ValueError; the connection is then given up."""
        try:
            async with asyncio.timeout(within):
                return await self._call(method, params)
        except BaseException:
            self.close()
            raise

    async def _call(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(*address(self._where()), limit=1 << 24)
        reader, writer = self._streams
        body = json.dumps(params).encode()
        writer.write(
            f"POST /api/{method} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {self._key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            status, size, closes = int(head.split()[1]), -1, "connection: close" in head
            for line in head.split("\r\n"):
                name, _, value = line.partition(":")
                if name == "content-length":
                    size = int(value)
            if "transfer-encoding: chunked" in head:
                answer = await _chunks(reader)
            else:
                answer = await reader.readexactly(size) if size >= 0 else await reader.read()
                closes = closes or size < 0
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError(str(error)) from None
        if closes:
            self.close()
        if status != 200:
            raise ValueError(f"{status}: {answer[:200]!r}")
        found = json.loads(answer)
        assert isinstance(found, dict)
        return found

    def close(self) -> None:
        """Give the connection up."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    whole = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        whole += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return whole


class Publisher:
    """Publishes over HTTP into `channels` in turn, `rate` requests a second, each of `batch` publications."""

    def __init__(
        self, log: Log, where: Callable[[], Place], api_key: str, channels: list[str], rate: float, batch: int = 1
    ) -> None:
        self._log = log
        self._http = HttpCaller(where, api_key)
        self._channels = channels
        self._rate = rate
        self._batch = batch
        self._turn = random.randrange(len(channels))
        self.enough = False

    async def run(self) -> None:
        """Publish until it is `enough`; what was begun is finished."""
        due = self._log.now + random.uniform(0, 1 / self._rate)
        while not self.enough:
            await asyncio.sleep(max(0.0, due - self._log.now))
            due = max(due + 1 / self._rate, self._log.now - MAX_BEHIND)
            await self.publish(self._batch)
        self._http.close()

    async def publish(self, count: int, size: int = 40, within: float = 120.0) -> bool:
        """Publish `count` times, asking for each until it is answered; False when that took too long."""
        waiting: dict[int, dict[str, Any]] = {}
        for _ in range(count):
            self._turn += 1
            number, data = publication(self._log, size)
            channel = self._channels[self._turn % len(self._channels)]
            waiting[number] = {"channel": channel, "data": data, "idempotency_key": f"chaos-{number}"}
        sent = self._log.now
        while waiting and self._log.now < sent + within:
            asked = list(waiting)
            for number, answer in zip(asked, await self._try([waiting[number] for number in asked]), strict=False):
                if "error" not in answer:
                    self._acknowledged(waiting.pop(number)["channel"], number, answer, sent)
            if waiting:
                await asyncio.sleep(random.uniform(0.05, 0.2))
        return not waiting

    async def _try(self, publications: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The answers, in order; none where there was no answer."""
        try:
            if len(publications) == 1:
                answer = await self._http.call("publish", publications[0])
                return [answer.get("result", {"error": answer.get("error")})]
            commands = [{"publish": one} for one in publications]
            answer = await self._http.call("batch", {"commands": commands, "parallel": True})
            return [reply.get("publish", {"error": reply.get("error")}) for reply in answer["replies"]]
        except (OSError, TimeoutError, ValueError, KeyError):
            return []

    def _acknowledged(self, channel: str, number: int, answer: dict[str, Any], sent: float) -> None:
        epoch, offset = answer.get("epoch", ""), answer.get("offset", 0)
        self._log.append(Acknowledged(self._log.now, channel, number, epoch, offset, sent))
        self._log.publications += 1


class SocketPublisher(Member):
    """Publishes over its connection, `rate` a second, and takes no notice of what is refused."""

    def __init__(self, *arguments: Any, into: list[str], rate: float, policy: str = "", **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._into = into
        self._rate = rate
        self._policy = policy
        self.enough = False

    async def run(self) -> None:
        """Publish until it is `enough`."""
        turn = random.randrange(len(self._into))
        due = self._log.now
        flights: set[asyncio.Task[None]] = set()
        while not self.enough:
            await asyncio.sleep(max(0.01, due - self._log.now))
            due = max(due + 1 / self._rate, self._log.now - (0.0 if self._policy else MAX_BEHIND))
            if self.client and len(flights) < 50:
                turn += 1
                flight = asyncio.create_task(self._publish(self._into[turn % len(self._into)]))
                flights.add(flight)
                flight.add_done_callback(flights.discard)
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    async def _publish(self, channel: str) -> None:
        number, data = publication(self._log)
        sent = self._log.now
        answer = await self.ask("publish", {"channel": channel, "data": data})
        if "publish" in answer:
            self._log.append(Acknowledged(self._log.now, channel, number, "", 0, sent))
            self._log.publications += 1
            if self._policy:
                self._log.append(Granted(self._log.now, self._policy, sent))
