"""Protobuf as one of the protocol's encodings (`flotilla.realtime.protocol.encodings`)."""

from collections.abc import Mapping
from typing import Any

from msgspec import Raw

from flotilla.realtime.protocol.codes import CommandError
from flotilla.realtime.protocol.protobuf import commands
from flotilla.realtime.protocol.protobuf.messages import message
from flotilla.realtime.protocol.protobuf.publications import changed, client_info, payload, publication_push
from flotilla.realtime.protocol.protobuf.pushes import lines
from flotilla.realtime.protocol.protobuf.schema import MESSAGES
from flotilla.realtime.protocol.protobuf.wire import joined, text
from flotilla.realtime.protocol.replies import with_offset
from flotilla.speedups.pure.protobuf import sized, varint

_PUSH, _CHANNEL = 0x22, 0x12
_PRESENCE = {b"join": 0x2A, b"leave": 0x32}
_INFO = 0x0A
_ID, _WITH_LENGTH = b"\x08", 2
_RESULTS = {
    field.name: (field.number << 3 | _WITH_LENGTH, field.kind)
    for field in MESSAGES["Reply"].values()
    if field.is_message
}
_EMPTY = {method: bytes((tag, 0)) for method, (tag, _) in _RESULTS.items()}  # results that say nothing


class ProtobufEncoding:
    """Messages of Protobuf, each behind its length."""

    name = "protobuf"
    binary = True
    ping = b""
    read = staticmethod(commands.read)
    publication = staticmethod(publication_push)
    payload = staticmethod(payload)
    changed = staticmethod(changed)
    joined = staticmethod(joined)
    lines = staticmethod(lines)

    def reply(self, id: int, method: str, result: Mapping[str, Any] = {}) -> bytes:
        if not result:
            return _ID + varint(id) + _EMPTY[method]
        tag, kind = _RESULTS[method]
        return _ID + varint(id) + sized(tag, message(kind, result))

    def error(self, id: int, problem: CommandError) -> bytes:
        fields = {"code": problem.code, "message": problem.message, "temporary": problem.temporary}
        return message("Reply", {"id": id, "error": fields})

    def push(self, channel: str, kind: str, body: Mapping[str, Any]) -> bytes:
        return message("Reply", {"push": {"channel": channel, kind: body}})

    def message_push(self, data: bytes) -> bytes:
        return message("Reply", {"push": {"message": {"data": data}}})

    def disconnect_push(self, code: int, reason: str) -> bytes:
        return message("Reply", {"push": {"disconnect": {"code": code, "reason": reason}}})

    def channel(self, name: str) -> bytes:
        return sized(_CHANNEL, text(name))

    def stored(self, body: bytes, offset: int) -> Raw:
        return Raw(with_offset(body, offset))

    def whole(self, body: bytes) -> bytes:
        return body

    def presence(self, channel: bytes, kind: bytes, info: bytes) -> bytes:
        return sized(_PUSH, channel + sized(_PRESENCE[kind], sized(_INFO, client_info(info))))


PROTOBUF = ProtobufEncoding()
