"""Messages as the protocol's own Go module writes them (`tests/vectors/main.go`), with their meaning as mappings."""

import json
from base64 import b64decode
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Raw

from flotilla.realtime.protocol.protobuf.schema import MESSAGES, Field

FILE = Path(__file__).parents[3] / "vectors" / "protobuf.jsonl"
NUMBERS = ("int32", "int64", "uint32", "uint64")


class Vector(NamedTuple):
    """`says` has payloads as bytes; it is empty for a frame of several messages."""

    name: str
    kind: str
    bytes: bytes
    says: dict[str, Any]


def vectors(kind: str) -> list[Vector]:
    """Those of a kind: command, reply, or frames of all of them."""
    lines = [json.loads(line) for line in FILE.read_text().splitlines()]
    message = kind.title()
    return [
        Vector(one["name"], kind, bytes.fromhex(one["hex"]), plain(message, one["says"]) if "says" in one else {})
        for one in lines
        if one["kind"] == kind
    ]


def plain(message: str, said: dict[str, Any]) -> dict[str, Any]:
    """What Protobuf's JSON says, with payloads as bytes, and numbers of 64 bits as numbers."""
    return {key: _value(MESSAGES[message][key], value) for key, value in said.items()}


def _value(field: Field, value: Any) -> Any:
    if field.many == "list":
        return [_one(field, item) for item in value]
    if field.many == "map":
        return {key: _one(field, item) for key, item in value.items()}
    return _one(field, value)


def _one(field: Field, value: Any) -> Any:
    if field.is_message:
        return plain(field.kind, value)
    if field.kind == "bytes":
        return Raw(b64decode(value))
    return int(value) if field.kind in NUMBERS else value
