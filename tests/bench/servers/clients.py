"""Flotilla for clients that do not speak JSON over WebSocket: Protobuf, and the two transports of the SDKs' emulation.

Over those a client connects with its request, and subscribes beside it (`/emulation`), as centrifuge-js does; what all
clients say there goes over a few connections, as behind a balancer.
"""

import importlib.util
from typing import ClassVar
from urllib.parse import quote

from tests.bench.servers.base import as_json
from tests.bench.servers.flotilla import Flotilla

CONNECT = as_json({"id": 1, "connect": {}})
ROOM = "000000"  # a room's number in Protobuf, where a text has its length before it


def delimited(tag: int, content: bytes) -> bytes:
    """A field of bytes, of fewer than 128."""
    assert len(content) < 128
    return bytes((tag << 3 | 2, len(content))) + content


def command(id: int, tag: int, body: bytes) -> bytes:
    """A command behind its length."""
    content = bytes((1 << 3, id)) + delimited(tag, body)
    assert len(content) < 128
    return bytes((len(content),)) + content


class FlotillaProtobuf(Flotilla):
    """One process whose clients speak Protobuf."""

    name = "flotilla-protobuf"
    title = "Flotilla, Protobuf"
    dialect: ClassVar[str] = "protobuf"

    @classmethod
    def missing(cls) -> str | None:
        there = importlib.util.find_spec("flotilla.realtime.protocol.protobuf") is not None
        return super().missing() if there else "this version does not speak Protobuf"

    @property
    def path(self) -> str:
        return "/connection/websocket?format=protobuf"

    @property
    def channel(self) -> str:
        return f"{self.shape.namespace}:%R"

    @property
    def hello(self) -> str:
        connect, subscribe = 4, 5
        channel = f"{self.shape.namespace}:{ROOM}".encode()
        said = command(1, connect, b"") + command(2, subscribe, delimited(1, channel))
        return said.decode("ascii").replace(ROOM, "%R")


class FlotillaStream(Flotilla):
    """One process whose clients read the response to a POST."""

    name = "flotilla-http-stream"
    title = "Flotilla, HTTP streaming"
    transport: ClassVar[str] = "stream"
    beside: ClassVar[str] = "/emulation"

    @classmethod
    def missing(cls) -> str | None:
        there = importlib.util.find_spec("flotilla.realtime.responses") is not None
        return super().missing() if there else "this version has no HTTP streaming"

    @property
    def path(self) -> str:
        return "/connection/http_stream"

    @property
    def hello(self) -> str:
        return CONNECT

    @property
    def then(self) -> str:
        return as_json({"id": 2, "subscribe": {"channel": self.channel}})


class FlotillaSse(FlotillaStream):
    """One process whose clients read server-sent events."""

    name = "flotilla-sse"
    title = "Flotilla, server-sent events"
    transport: ClassVar[str] = "events"

    @property
    def path(self) -> str:
        return f"/connection/sse?cf_connect={quote(CONNECT)}"
