"""What a client sends in Protobuf: one binary message of commands, each behind its length, read into Commands.

As strict as in JSON: what cannot be a command ends the connection with 3501; unknown fields are skipped. A command
without anything in it is a pong. A publish that comes alone, as most commands do, is read by hand, and so are simple
requests (`requests`); all else by the library.
"""

import re
from collections.abc import Callable
from functools import cache
from operator import attrgetter
from typing import Any

import msgspec
from google.protobuf.message import DecodeError
from msgspec import Raw

from flotilla.realtime.protocol import commands
from flotilla.realtime.protocol.codes import DisconnectCode, DisconnectError
from flotilla.realtime.protocol.commands import Command, Position, PublishRequest
from flotilla.realtime.protocol.protobuf.requests import STRUCTS, plain_command
from flotilla.realtime.protocol.protobuf.schema import CLASSES, MESSAGES
from flotilla.realtime.protocol.protobuf.wire import parts
from flotilla.speedups import protobuf_publish
from flotilla.speedups.pure.protobuf import MAX_ID

_HALF_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")  # or one of a pair
_raw = msgspec.json.Decoder(Raw).decode
_read = CLASSES["Command"].FromString
_REQUESTS = [(method, MESSAGES["Command"][method].kind, struct) for method, struct in STRUCTS.items()]


def read(message: str | bytes, most: int) -> tuple[list[Command], int]:
    """The commands of one message, in order, and how many bytes of it are read with effort, here or later.

    Raises DisconnectError: 3013 when the commands are more than `most`, before any is read; 3501 for anything else.
    """
    try:
        data = message if isinstance(message, bytes) else b""
        if (found := protobuf_publish(data, 0)) is not None and found[3] == len(data):
            command = Command(found[0], publish=PublishRequest(found[1], Raw(found[2])))
            return [command], _effort_of_data(found[2])
        whole = parts(data, most)
        if len(whole) > most:
            raise DisconnectError(DisconnectCode.TOO_MANY_REQUESTS, detail="too many commands in one message")
        if not whole:
            raise ValueError("an empty message")
        read = [plain_command(part) or _command(part) for part in whole]
    except (ValueError, DecodeError) as error:
        raise DisconnectError(DisconnectCode.BAD_REQUEST, detail=f"malformed command: {error}") from None
    return read, sum(map(_effort, read))


def _command(part: bytes) -> Command:
    """A command. Raises ValueError or DecodeError."""
    message = _read(part)
    if message.id > MAX_ID:
        raise ValueError("an id has at most 32 bits")
    command = Command(message.id)
    for method, name, struct in _REQUESTS:
        if message.HasField(method):
            setattr(command, method, _request(getattr(message, method), name, struct))
            break  # it is the only one that counts
    return command


def _request(message: Any, name: str, struct: Any) -> Any:
    """A request as our Struct of it."""
    names, values, payloads = _plain_fields(name, struct)
    taken = dict(zip(names, values(message), strict=True))
    for payload in payloads:
        taken[payload] = Raw(taken[payload])
    if struct is commands.ConnectRequest:
        taken["headers"] = dict(message.headers)
        taken["subs"] = {channel: _subscribe(sub) for channel, sub in message.subs.items()}
    elif struct is commands.SubscribeRequest and message.HasField("tf"):
        taken["tf"] = Raw(msgspec.json.encode(_node(message.tf)))
    elif struct is commands.HistoryRequest and message.HasField("since"):
        taken["since"] = Position(message.since.offset, message.since.epoch)
    return struct(**taken)


def _subscribe(message: Any) -> Any:
    return _request(message, "SubscribeRequest", commands.SubscribeRequest)


@cache
def _plain_fields(name: str, struct: Any) -> tuple[list[str], Callable[[Any], Any], list[str]]:
    """The fields that a Struct and its message have in common, but for messages; how to get all of them at once; and
    those of bytes."""
    fields = [one for one in MESSAGES[name].values() if one.name in struct.__struct_fields__]
    plain = [one for one in fields if not one.many and not one.is_message]
    names = [one.name for one in plain]
    values = attrgetter(*names) if len(names) > 1 else lambda message: tuple(getattr(message, name) for name in names)
    return names, values, [one.name for one in plain if one.kind == "bytes"]


def _node(node: Any) -> dict[str, Any]:
    """A tags filter as JSON clients write it."""
    fields: dict[str, Any] = {name: value for name in ("op", "key", "cmp", "val") if (value := getattr(node, name))}
    if node.vals:
        fields["vals"] = list(node.vals)
    if node.nodes:
        fields["nodes"] = [_node(one) for one in node.nodes]
    return fields


def _effort(command: Command) -> int:
    """How many bytes of a command take long to read: filters, and payloads with half surrogates, as in JSON."""
    if command.subscribe is not None:
        return len(bytes(command.subscribe.tf))
    request = command.publish or command.rpc or command.send or command.connect
    return _effort_of_data(bytes(request.data)) if request is not None else 0


def _effort_of_data(data: bytes) -> int:
    if b"\\u" not in data or _HALF_SURROGATE.search(data) is None:
        return 0
    try:
        _raw(data)
        return 0
    except msgspec.DecodeError:
        return len(data)
