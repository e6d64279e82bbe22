"""A raw client that speaks Protobuf: tests see the messages that a JSON client would, payloads decoded.

What it reads and writes goes through the `protobuf` library's objects; the platform writes without them. A payload
that is no JSON is seen as bytes; `exact` has every publication's data as it came.
"""

from typing import Any

from websockets.typing import Subprotocol

from flotilla.realtime.protocol.protobuf.schema import CLASSES
from flotilla.realtime.protocol.protobuf.wire import joined, parts
from tests.cluster.support.raw_client import Message, RawClient
from tests.protobuf_messages import decoded, encoded

PROTOBUF = Subprotocol("centrifuge-protobuf")


class ProtobufClient(RawClient):
    """As a RawClient."""

    def __init__(self, url: str, **options: Any) -> None:
        asked = {} if "?" in url else {"subprotocols": [PROTOBUF]}
        super().__init__(url, **asked, **options)
        self.exact: list[bytes] = []

    async def send(self, *commands: Message) -> None:
        await self.socket.send(joined([encoded(command) for command in commands]))

    async def send_bytes(self, data: bytes) -> None:
        """Send a binary message as it is."""
        await self.socket.send(data)

    async def _pong(self) -> None:
        await self.socket.send(b"\x00")

    async def _receive_one(self, data: str | bytes) -> None:
        assert isinstance(data, bytes), data
        for part in parts(data, 1 << 20):
            reply = CLASSES["Reply"].FromString(part)
            if reply.push.HasField("pub"):
                self.exact.append(reply.push.pub.data)
            assert not reply.ByteSize() or reply.id or reply.HasField("push"), reply
            await self._take(decoded(reply))
