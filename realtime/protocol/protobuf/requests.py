"""Commands read by hand: those whose requests have text, bytes, flags and numbers alone, as nearly all have.

The library takes several times as long. It reads all that is not plainly right here, so what is against the rules is
its to say, and what is read here is what it would read.
"""

from collections.abc import Callable
from typing import Any

from msgspec import Raw

from flotilla.realtime.protocol import commands
from flotilla.realtime.protocol.commands import Command
from flotilla.realtime.protocol.protobuf.schema import MESSAGES
from flotilla.speedups.pure.protobuf import MAX_ID, read_varint

STRUCTS: dict[str, Any] = {
    "connect": commands.ConnectRequest,
    "subscribe": commands.SubscribeRequest,
    "unsubscribe": commands.ChannelRequest,
    "publish": commands.PublishRequest,
    "presence": commands.ChannelRequest,
    "presence_stats": commands.ChannelRequest,
    "history": commands.HistoryRequest,
    "rpc": commands.RpcRequest,
    "send": commands.SendRequest,
    "refresh": commands.TokenRequest,
    "sub_refresh": commands.TokenRequest,
    "ping": commands.Empty,
}
"""What each request is read into."""

_ID, _WITH_LENGTH, _TWO_BYTES = 0x08, 2, 16
_Fields = dict[int, tuple[str, Callable[[Any], Any]]]


def plain_command(data: bytes) -> Command | None:
    """The command that `data` holds; None for one that the library must read."""
    try:
        id, at = data[1], 2
        if data[0] != _ID:
            id = at = 0
        elif id > 127:
            id, at = read_varint(data, 1)
        method, struct, fields = _REQUESTS[data[at]]
        size, at = data[at + 1], at + 2
        if size > 127:
            size, at = _size(data, at - 1)
        if id > MAX_ID or at + size != len(data):
            return None
        command = Command(id)
        setattr(command, method, struct(**_values(data, at, fields)) if size else struct())
        return command
    except (ValueError, LookupError):
        return None


def _values(data: bytes, at: int, fields: _Fields) -> dict[str, Any]:
    """The fields of a message, by their names. Raises ValueError or LookupError for what the library must read."""
    found = {}
    end = len(data)
    while at < end:
        tag, number = data[at], data[at + 1]
        name, value = fields[tag]
        at += 2
        if tag & _WITH_LENGTH:
            if number > 127:
                number, at = _size(data, at - 1)
            start, at = at, at + number
            if at > end:
                raise ValueError("a field that ends behind its message")
            found[name] = value(data[start:at])
        else:
            if number > 127:
                number, at = read_varint(data, at - 1)
            found[name] = value(number)
    return found


def _size(data: bytes, at: int) -> tuple[int, int]:
    """A length of two bytes, and where it ends. The library knows how many a length may have."""
    if data[at + 1] > 127:
        raise ValueError("a length of more than two bytes")
    return data[at] & 127 | data[at + 1] << 7, at + 2


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number


def _short(number: int) -> int:
    number &= 0xFFFFFFFF
    return number - (1 << 32) if number >> 31 else number


_VALUES: dict[str, Callable[[Any], Any]] = {
    "string": bytes.decode,
    "bytes": Raw,
    "bool": bool,
    "int32": _short,
    "int64": _signed,
    "uint64": int,
}


def _fields(message: str, struct: Any) -> _Fields:
    """What is read by hand of a message: by the tag, the name and what makes the value of it. Tags of two bytes are the
    library's."""
    return {
        field.number << 3 | (_WITH_LENGTH if field.kind in ("string", "bytes") else 0): (
            field.name,
            _VALUES[field.kind],
        )
        for field in MESSAGES[message].values()
        if field.kind in _VALUES
        and not field.many
        and field.number < _TWO_BYTES
        and field.name in struct.__struct_fields__
    }


_REQUESTS = {
    field.number << 3 | _WITH_LENGTH: (method, struct, _fields(field.kind, struct))
    for method, struct in STRUCTS.items()
    for field in [MESSAGES["Command"][method]]
}
