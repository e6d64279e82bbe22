"""A connection in process: a real Client of a real Node, with a socket that writes down what it is given."""

import itertools
import json
from collections.abc import Callable
from typing import Any

from flotilla.realtime.client.client import Client
from flotilla.realtime.engine.publication import StreamPosition
from flotilla.realtime.node.node import Node
from flotilla.realtime.protocol.encodings import JSON
from flotilla.realtime.protocol.formats import WEBSOCKET_JSON, WEBSOCKET_PROTOBUF, Format
from flotilla.realtime.protocol.frames import TEXT, Frame
from flotilla.realtime.protocol.protobuf.encoding import PROTOBUF
from flotilla.realtime.protocol.protobuf.wire import parts
from flotilla.realtime.protocol.streams import as_event, stream_format
from tests.protobuf_messages import encoded, told
from tests.store.redis_process import until


class RecordingSocket:
    """Keeps everything sent, in order, and the close."""

    def __init__(self) -> None:
        self.on_slow: Callable[[], None] | None = None
        self.unsent = 0
        self.descriptor = -1
        self.waiting = 0
        self.lines: list[dict[str, Any]] = []
        self.closed: tuple[int, str] | None = None

    def send(self, frame: Frame) -> None:
        assert self.closed is None, "sent after the close"
        if frame.opcode == TEXT:
            self.lines += [json.loads(line) for line in frame.content.split(b"\n")]
        else:
            self.lines += [told(part) for part in parts(frame.payload, 1 << 20)]

    def send_soon(self, frame: Frame) -> None:
        self.send(frame)

    def close(self, code: int, reason: str) -> None:
        assert self.closed is None, "closed twice"
        assert type(code) is int
        self.closed = (code, reason)


class Peer:
    """A client. `ask` sends one command and waits for its reply."""

    format: Format = WEBSOCKET_JSON

    def __init__(self, node: Node, **scope: Any) -> None:
        self.socket = RecordingSocket()
        self.client = Client(node, self.socket, scope, address="192.0.2.1", format=self.format)
        self._ids = itertools.count(1)

    def say(self, **request: Any) -> int:
        """Send a command without waiting; returns its id."""
        id = next(self._ids)
        self.client.receive(self._written({"id": id, **request}))
        return id

    @staticmethod
    def _written(command: dict[str, Any]) -> str | bytes:
        return json.dumps(command)

    async def reply(self, id: int) -> dict[str, Any]:
        """The one reply to a command."""
        await until(lambda: self._replies(id) or self.socket.closed, what=f"reply {id}")
        assert self._replies(id), f"closed with {self.socket.closed} before reply {id}: {self.socket.lines[-3:]}"
        (found,) = self._replies(id)
        return {key: value for key, value in found.items() if key != "id"}

    def _replies(self, id: int) -> list[dict[str, Any]]:
        return [line for line in self.socket.lines if line.get("id") == id]

    async def ask(self, **request: Any) -> dict[str, Any]:
        return await self.reply(self.say(**request))

    async def connect(self, **request: Any) -> dict[str, Any]:
        return await self._asked("connect", request)

    async def subscribe(self, channel: str, **request: Any) -> dict[str, Any]:
        return await self._asked("subscribe", {"channel": channel, **request})

    async def _asked(self, method: str, request: dict[str, Any]) -> dict[str, Any]:
        """The result of a command that has one."""
        reply = await self.ask(**{method: request})
        assert method in reply, reply
        result: dict[str, Any] = reply[method]
        return result

    async def end(self) -> tuple[int, str]:
        """The close, when it has come; a push of the same code must have gone before a code from 3000 on."""
        code, reason = await until(lambda: self.socket.closed)
        if code >= 3000:
            assert self.socket.lines[-1] == {"push": {"disconnect": {"code": code, "reason": reason}}}
        return code, reason

    def pushes(self, kind: str, channel: str) -> list[Any]:
        """What was pushed of a kind, in order."""
        lines = [line["push"] for line in self.socket.lines if "push" in line]
        return [push[kind] for push in lines if kind in push and push.get("channel") == channel]

    def data(self, channel: str) -> list[Any]:
        return [publication["data"] for publication in self.pushes("pub", channel)]


class EventsPeer(Peer):
    """As a Peer, by server-sent events."""

    format = stream_format(JSON, as_event, False)


class ProtobufPeer(Peer):
    """As a Peer, in Protobuf; data that is no JSON is bytes."""

    format = WEBSOCKET_PROTOBUF

    @staticmethod
    def _written(command: dict[str, Any]) -> bytes:
        return PROTOBUF.joined([encoded(command)])


async def joined(node: Node, **request: Any) -> Peer:
    """A connected client."""
    peer = Peer(node)
    await peer.connect(**request)
    return peer


async def fill(node: Node, count: int, channel: str = "open:a", size: int = 1) -> StreamPosition:
    """Publish so many from elsewhere."""
    options = node.config.namespaces[channel.partition(":")[0]]
    position = StreamPosition("", 0)
    for number in range(1, count + 1):
        body = b'{"data":%s}' % (b"%d" % number if size == 1 else b'"' + b"x" * size + b'"')
        position = await node.broker.publish(channel, body, options)
    return position


def error(code: int) -> Any:
    """An error reply of this code."""

    class Matches:
        def __eq__(self, other: object) -> bool:
            return isinstance(other, dict) and other.get("error", {}).get("code") == code

        def __repr__(self) -> str:
            return f"error {code}"

    return Matches()
