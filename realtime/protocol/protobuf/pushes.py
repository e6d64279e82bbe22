"""What clients are pushed in Protobuf, as JSON: for who looks on (`flotilla.realtime.node.tail_events`)."""

import sys
from base64 import b64encode
from typing import Any

import msgspec
from google.protobuf.message import Message
from msgspec import Raw

from flotilla.realtime.protocol.protobuf.schema import CLASSES
from flotilla.realtime.protocol.protobuf.wire import parts

_read = CLASSES["Reply"].FromString


def lines(content: bytes) -> list[bytes]:
    """The pushes of a frame. A publication's data is in base64, `b64data`, for it need not be JSON."""
    replies = [_read(part) for part in parts(content, sys.maxsize)]
    return [msgspec.json.encode({"push": _plain(reply.push)}) for reply in replies if reply.HasField("push")]


def _plain(message: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field, value in message.ListFields():
        if field.name == "data" and message.DESCRIPTOR.name == "Publication":
            found["b64data"] = b64encode(value).decode()
        elif isinstance(value, Message):
            found[field.name] = _plain(value)
        elif isinstance(value, bytes):
            found[field.name] = Raw(value)
        else:
            found[field.name] = dict(value) if field.name == "tags" else value
    return found
