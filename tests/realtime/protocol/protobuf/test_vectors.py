"""Our encoder and decoder against messages of every kind as the protocol's own Go module writes them."""

from base64 import b64encode
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from flotilla.realtime.protocol.codes import CommandError
from flotilla.realtime.protocol.commands import Command, parse
from flotilla.realtime.protocol.protobuf.encoding import PROTOBUF
from flotilla.realtime.protocol.protobuf.schema import CLASSES
from flotilla.realtime.protocol.protobuf.wire import parts
from tests.realtime.protocol.protobuf.vectors import Vector, vectors

pytestmark = pytest.mark.usefixtures("implementation")
COMMANDS, REPLIES = vectors("command"), vectors("reply")


def body(publication: dict[str, Any]) -> Raw:
    """A publication as the platform keeps it, with its offset."""
    kept = dict(publication)
    data = bytes(kept["data"])
    try:
        msgspec.json.decode(data)
    except msgspec.DecodeError:
        del kept["data"]
        kept["b64data"] = b64encode(data).decode()
    return Raw(msgspec.json.encode(kept))


def stored(said: Any) -> Any:
    """What a reply says, with what the platform keeps in JSON as JSON."""
    if isinstance(said, dict):
        return {key: stored(value) for key, value in said.items()}
    if isinstance(said, list):  # of publications, nothing else has lists
        return [body(one) for one in said]
    return said


def written(reply: dict[str, Any]) -> bytes:
    """A reply as the platform would have it written."""
    said = dict(reply)
    id, push = said.pop("id", 0), said.pop("push", {})
    if error := said.get("error"):
        problem = CommandError(error["code"], error["message"], temporary=error.get("temporary", False))
        return PROTOBUF.error(id, problem)
    for method, result in said.items():
        return PROTOBUF.reply(id, method, stored(result))
    return pushed(push) if push else PROTOBUF.ping


def pushed(push: dict[str, Any]) -> bytes:
    said = dict(push)
    channel = said.pop("channel", "")
    ((kind, told),) = said.items()
    if kind == "message":
        return PROTOBUF.message_push(bytes(told["data"]))
    if kind == "disconnect":
        return PROTOBUF.disconnect_push(told["code"], told["reason"])
    if kind == "pub":
        kept = {key: value for key, value in told.items() if key != "offset"}
        return PROTOBUF.publication(PROTOBUF.channel(channel), bytes(body(kept)), told.get("offset", 0))
    if kind in ("join", "leave"):
        info = msgspec.json.encode(told["info"])
        return PROTOBUF.presence(PROTOBUF.channel(channel), kind.encode(), info)
    return PROTOBUF.push(channel, kind, told)


@pytest.mark.parametrize("vector", REPLIES, ids=lambda vector: vector.name)
def test_what_is_sent_is_byte_for_byte_what_the_go_module_writes(vector: Vector) -> None:
    assert written(vector.says).hex() == vector.bytes.hex()


@pytest.mark.parametrize("vector", REPLIES, ids=lambda vector: vector.name)
def test_the_librarys_objects_write_the_same(vector: Vector) -> None:
    """The schema has the numbers and types of the protocol."""
    assert CLASSES["Reply"].FromString(vector.bytes).SerializeToString(deterministic=True) == vector.bytes


@pytest.mark.parametrize("vector", COMMANDS, ids=lambda vector: vector.name)
def test_what_is_read_is_what_json_would_say(vector: Vector) -> None:
    ((command,), _) = PROTOBUF.read(PROTOBUF.joined([vector.bytes]), 1)
    same = as_told(parse(msgspec.json.encode(without_payloads(vector.says)))[0])
    assert as_told(command) == same | payloads(vector.says)


def without_payloads(said: Any) -> Any:
    """A command without its payloads, of which some are no JSON."""
    if isinstance(said, dict):
        return {key: without_payloads(value) for key, value in said.items() if not isinstance(value, Raw)}
    return said


def as_told(command: Command) -> dict[str, Any]:
    """Everything in a command, payloads as bytes."""
    found: dict[str, Any] = {"id": command.id, "method": command.method}
    request = getattr(command, command.method) if command.method else None
    for name in getattr(request, "__struct_fields__", ()):
        value = getattr(request, name)
        found[name] = bytes(value) if isinstance(value, Raw) else value
        if name == "tf" and found[name]:
            found[name] = msgspec.json.decode(found[name])
        if name == "subs":
            found[name] = {key: (one.recover, one.epoch, one.offset) for key, one in value.items()}
    return found


def payloads(said: dict[str, Any]) -> dict[str, Any]:
    request = next((value for value in said.values() if isinstance(value, dict)), {})
    return {key: bytes(value) for key, value in request.items() if isinstance(value, Raw)}


def test_many_in_one_frame() -> None:
    (commands,), (replies,) = vectors("commands"), vectors("replies")
    found, _ = PROTOBUF.read(commands.bytes, 256)
    assert [one.method for one in found] == [next(iter(one.says.keys() - {"id"}), "") for one in COMMANDS]
    assert PROTOBUF.joined([written(one.says) for one in REPLIES]) == replies.bytes
    assert parts(replies.bytes, 256) == [one.bytes for one in REPLIES]
