"""Encodings: how one message of the protocol is written as bytes, and how what a client sends is read.

Results and pushes are mappings with the protocol's own names. A `Raw` in one is JSON: a payload as it came, or, where
the protocol has a message (a publication, a ClientInfo), that message in JSON. What a message is framed in is a
format's business (`formats`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from msgspec import Raw

from flotilla.realtime.protocol import deltas, replies
from flotilla.realtime.protocol.bodies import shown, visible
from flotilla.realtime.protocol.codes import CommandError
from flotilla.realtime.protocol.commands import Command, parse_with_effort
from flotilla.speedups import publication_push


class Encoding(Protocol):
    """One of the protocol's encodings. Has no state; payloads that it makes are whole messages."""

    name: str
    binary: bool
    ping: bytes

    def reply(self, id: int, method: str, result: Mapping[str, Any] = {}) -> bytes:
        """A success."""

    def error(self, id: int, problem: CommandError) -> bytes:
        """An error reply."""

    def push(self, channel: str, kind: str, body: Mapping[str, Any]) -> bytes:
        """A push of a channel, but for those below."""

    def message_push(self, data: bytes) -> bytes:
        """A message to one connection, of no channel; `data` is JSON."""

    def disconnect_push(self, code: int, reason: str) -> bytes:
        """The server ends the connection."""

    def channel(self, name: str) -> bytes:
        """A channel's name as the two below want it: it is the same for all that is pushed there."""

    def publication(self, channel: bytes, body: bytes, offset: int) -> bytes:
        """The push of a publication: its body as history has it, and its offset, 0 where there is no history."""

    def stored(self, body: bytes, offset: int) -> Raw:
        """A publication as a result has it."""

    def payload(self, body: bytes) -> bytes:
        """What a publication says, as clients of this encoding keep it where they apply deltas to it."""

    def whole(self, body: bytes) -> bytes:
        """A publication's body as a subscription with deltas gets it, whole."""

    def changed(self, body: bytes, delta: bytes) -> bytes:
        """The same with a delta in place of what the publication says."""

    def presence(self, channel: bytes, kind: bytes, info: bytes) -> bytes:
        """The push of a join or leave; `info` is the ClientInfo in JSON."""

    def joined(self, payloads: Sequence[bytes]) -> bytes:
        """Several messages as the content of one frame."""

    def lines(self, content: bytes) -> list[bytes]:
        """The pushes in the content of a frame, in JSON, for who looks on; for JSON everything else, too."""

    def read(self, message: str | bytes, most: int) -> tuple[list[Command], int]:
        """The commands of one message of a client, in order, and how many bytes were read with effort.

        Raises DisconnectError: 3013 when the commands are more than `most`, 3501 for what cannot be read.
        """


class JsonEncoding:
    """JSON objects, one a line."""

    name = "json"
    binary = False
    ping = replies.PING
    reply = staticmethod(replies.reply)
    error = staticmethod(replies.error)
    message_push = staticmethod(replies.message_push)
    disconnect_push = staticmethod(replies.disconnect_push)
    read = staticmethod(parse_with_effort)

    def push(self, channel: str, kind: str, body: Mapping[str, Any]) -> bytes:
        return replies.push(self.channel(channel), kind.encode(), replies.encode(body))

    def channel(self, name: str) -> bytes:
        return replies.encode(name)

    def publication(self, channel: bytes, body: bytes, offset: int) -> bytes:
        return publication_push(channel, visible(body), offset)

    def stored(self, body: bytes, offset: int) -> Raw:
        return Raw(replies.with_offset(visible(body), offset))

    def payload(self, body: bytes) -> bytes:
        return deltas.payload_of(self._with_data(body))

    def whole(self, body: bytes) -> bytes:
        return deltas.as_text(self._with_data(body))

    def changed(self, body: bytes, delta: bytes) -> bytes:
        return deltas.as_delta(self._with_data(body), delta)

    @staticmethod
    def _with_data(body: bytes) -> bytes:
        """A body that says something in JSON: where a channel's namespace has become one of JSON, or is just becoming
        one, there may still be bytes in it, and one publication must not keep the others from anybody."""
        return shown(visible(body))

    def presence(self, channel: bytes, kind: bytes, info: bytes) -> bytes:
        return replies.push(channel, kind, b'{"info":%s}' % info)

    def joined(self, payloads: Sequence[bytes]) -> bytes:
        return payloads[0] if len(payloads) == 1 else b"\n".join(payloads)

    def lines(self, content: bytes) -> list[bytes]:
        return content.split(b"\n")


JSON = JsonEncoding()
