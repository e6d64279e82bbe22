"""Official clients that run outside this process, told what to do and heard in JSON: npm `centrifuge` on Node, others.

A `Driver` hosts clients of one SDK; each of them is a `DrivenClient`, with the face of `sdk.SdkClient`. `PAIRS` are the
transports and encodings of the JavaScript client, and `on_every_pair` runs a test over all of them.
"""

import asyncio
import contextlib
import json
import os
import shutil
from dataclasses import dataclass
from typing import Any, Self

import pytest

from tests.cluster.support.processes import ROOT
from tests.cluster.support.sdk import CommandFailed, Event, Recorder, TokenSource

NODE_PROJECT = ROOT / "tests" / "cluster"  # where Node finds what `npm ci` installs
node = shutil.which("node") if (NODE_PROJECT / "node_modules" / "centrifuge").is_dir() else None


@dataclass(frozen=True)
class Pair:
    """A transport of the JavaScript client, and the encoding it speaks there."""

    transport: str
    encoding: str

    def __str__(self) -> str:
        return f"{self.transport}-{self.encoding}"


WEBSOCKET = Pair("websocket", "json")
PAIRS = (
    WEBSOCKET,
    Pair("websocket", "protobuf"),
    Pair("http_stream", "json"),
    Pair("http_stream", "protobuf"),
    Pair("sse", "json"),
)
IN_SHORT = (WEBSOCKET, Pair("http_stream", "protobuf"))
in_full = bool(os.environ.get("FLOTILLA_TEST_PAIRS"))  # as `make test-pairs` does
pairs = PAIRS if in_full else IN_SHORT
on_every_pair = pytest.mark.parametrize(
    "make_client",
    ["python", *(pytest.param(pair, id="js" if pair is WEBSOCKET else f"js-{pair}") for pair in pairs)],
    indirect=True,
)
"""For a test with `make_client`: with the Python client, and with JavaScript's over each pair (or those IN_SHORT)."""


class Driver:
    """Hosts any number of an SDK's clients, out of this process; `_tell` and who calls `_heard` are the way there."""

    def __init__(self, name: str) -> None:
        self.clients: dict[str, DrivenClient] = {}
        self._name = name
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._last_id = 0

    def client(
        self, url: str, token: TokenSource | None = None, name: str = "", pair: Pair = WEBSOCKET, **options: Any
    ) -> "DrivenClient":
        """A new client. `url`: the WebSocket's, whichever transport it is made for."""
        made = DrivenClient(self, url, token, name or f"{self._name}-{len(self.clients)}", pair, options)
        self.clients[made.name] = made
        return made

    def post(self, client: str, do: str, **params: Any) -> "asyncio.Future[Any]":
        """Tell the driver something; returns the future answer."""
        self._last_id += 1
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[self._last_id] = answer
        self._tell({"id": self._last_id, "client": client, "do": do, **params})
        return answer

    def _tell(self, message: dict[str, Any]) -> None:
        raise NotImplementedError

    def _heard(self, message: dict[str, Any]) -> None:
        if "id" in message:
            self._answered(self._answers.pop(message["id"]), message)
        else:
            self.clients[message.pop("of")].take(message)

    @staticmethod
    def _answered(answer: "asyncio.Future[Any]", message: dict[str, Any]) -> None:
        if answer.done():
            return
        if "error" in message:
            answer.set_exception(CommandFailed(message["error"]["code"], message["error"]["message"]))
        else:
            answer.set_result(message["result"])


class Program(Driver):
    """A driver that is a process, and speaks JSON lines. Use as `async with Program(…) as driver`."""

    def __init__(self, *command: str, name: str) -> None:
        super().__init__(name)
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(*self._command, stdin=pipe, stdout=pipe, limit=1 << 24)
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None and self._process.stdin is not None and self._reader is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 5)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reader

    def _tell(self, message: dict[str, Any]) -> None:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")

    async def _read(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self._heard(json.loads(line))


class Node(Program):
    """Node, with JavaScript clients."""

    def __init__(self) -> None:
        assert node is not None
        super().__init__(node, str(NODE_PROJECT / "client.mjs"), name="js")


class DrivenClient:
    """A client in another process."""

    def __init__(
        self, driver: Driver, url: str, token: TokenSource | None, name: str, pair: Pair, options: dict[str, Any]
    ) -> None:
        self.name = name
        self.seen = Recorder()
        self._driver = driver
        self._token = token
        self._tokens: dict[str, TokenSource] = {}
        spoken = {"transport": pair.transport, "encoding": pair.encoding}
        wishes = {"fetches_token": token is not None, "options": _camel(options)}
        self._made = driver.post(name, "make", url=url, **spoken, **wishes)

    def take(self, event: Event) -> None:
        """An event of this client has come."""
        if event["event"] == "token_wanted":
            channel = event.get("channel", "")
            source = self._tokens[channel] if channel else self._token
            assert source is not None
            self._driver.post(self.name, "token", fetch=event["fetch"], token=source(channel))
            return
        if event["event"] == "connected":
            event.setdefault("data", None)
        self.seen.events.append(event)

    async def connect(self) -> None:
        await self._made
        await self._driver.post(self.name, "connect")

    async def disconnect(self) -> None:
        await self._driver.post(self.name, "disconnect")

    async def close(self) -> None:
        with contextlib.suppress(CommandFailed):
            await self.disconnect()

    async def subscribe(self, channel: str, token: TokenSource | None = None, **options: Any) -> None:
        if token is not None:
            self._tokens[channel] = token
        wishes = {"channel": channel, "fetches_token": token is not None, "options": _camel(options)}
        await self._driver.post(self.name, "subscribe", **wishes)

    async def map(self, channel: str, kind: str = "Map", **options: Any) -> None:
        """Subscribe to a map: `Map`, `MapClients` or `MapUsers`."""
        await self._driver.post(self.name, "map", channel=channel, kind=kind, options=_camel(options))

    async def map_publish(self, channel: str, key: str, data: Any) -> None:
        """Set an entry."""
        await self._driver.post(self.name, "map_publish", channel=channel, key=key, data=data)

    async def map_remove(self, channel: str, key: str) -> None:
        """Take an entry out."""
        await self._driver.post(self.name, "map_remove", channel=channel, key=key)

    def mirror(self, channel: str) -> dict[str, Any] | None:
        """What a page would show of a map: what it was given at last, with every change since; None before that."""
        found: dict[str, Any] | None = None
        for event in self.seen.events:
            if event.get("channel") != channel:
                continue
            if event["event"] == "sync":
                found = {entry["key"]: entry.get("data") for entry in event["entries"]}
            elif event["event"] == "update":
                assert found is not None, "an update before the state"
                if event.get("removed"):
                    found.pop(event["key"], None)
                else:
                    found[event["key"]] = event.get("data")
        return found

    async def deltas(self, channel: str) -> int:
        """How many deltas have come."""
        return int((await self._driver.post(self.name, "delta_stats", channel=channel))["num_delta_payloads"])

    async def bounce(self, channel: str, times: int = 1) -> None:
        """Subscribe, and so many times unsubscribe and subscribe again, without waiting in between."""
        await self._driver.post(self.name, "bounce", channel=channel, times=times)

    async def resubscribe(self, channel: str) -> None:
        await self._driver.post(self.name, "resubscribe", channel=channel)

    async def unsubscribe(self, channel: str) -> None:
        await self._driver.post(self.name, "unsubscribe", channel=channel)

    async def publish(self, channel: str, data: Any) -> None:
        await self._driver.post(self.name, "publish", channel=channel, data=data)

    async def presence(self, channel: str) -> dict[str, Any]:
        found: dict[str, Any] = await self._driver.post(self.name, "presence", channel=channel)
        return found

    async def presence_stats(self, channel: str) -> dict[str, int]:
        found: dict[str, int] = await self._driver.post(self.name, "presence_stats", channel=channel)
        return found

    async def history(self, channel: str, limit: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = await self._driver.post(self.name, "history", channel=channel, options={"limit": limit})
        return found

    async def rpc(self, method: str, data: Any) -> Any:
        return (await self._driver.post(self.name, "rpc", method=method, data=data))["data"]

    async def send(self, data: Any) -> None:
        """A message that has no answer."""
        await self._driver.post(self.name, "send", data=data)


def _camel(options: dict[str, Any]) -> dict[str, Any]:
    """Options as JavaScript writes them: camelCase, times in milliseconds."""
    found = {}
    for name, value in options.items():
        first, *rest = name.split("_")
        timed = name.endswith("_delay") or name == "timeout"
        found[first + "".join(word.capitalize() for word in rest)] = int(value * 1000) if timed else value
    return found
