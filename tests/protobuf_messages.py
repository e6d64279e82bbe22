"""Messages in Protobuf for the tests' own clients, by the library; tests have them as the mappings of JSON."""

import json
from typing import Any

from flotilla.realtime.protocol.protobuf.schema import CLASSES, MESSAGES, Field

Message = dict[str, Any]
ALWAYS = {  # what JSON has though it is zero
    "PresenceResult": {"presence": {}},
    "PresenceStatsResult": {"num_clients": 0, "num_users": 0},
    "HistoryResult": {"publications": [], "epoch": "", "offset": 0},
    "ClientInfo": {"user": "", "client": ""},
}


def encoded(command: Message) -> bytes:
    """A command that is written as in JSON; data that is bytes is sent as it is."""
    written: bytes = CLASSES["Command"](**_given("Command", command)).SerializeToString()
    return written


def _given(name: str, said: dict[str, Any]) -> dict[str, Any]:
    fields = MESSAGES[name]
    return {key: _value(fields[key], value) for key, value in said.items() if key in fields and value is not None}


def _value(field: Field, value: Any) -> Any:
    if field.many == "map" and field.is_message:
        return {key: CLASSES[field.kind](**_given(field.kind, one)) for key, one in value.items()}
    if field.is_message and not field.many:
        return CLASSES[field.kind](**_given(field.kind, value))
    if field.is_message and field.many == "list":
        return [CLASSES[field.kind](**_given(field.kind, one)) for one in value]
    if field.kind == "bytes" and not isinstance(value, bytes):
        return json.dumps(value).encode()
    return value


def told(reply: bytes) -> Message:
    """What the server has sent."""
    return decoded(CLASSES["Reply"].FromString(reply))


def decoded(message: Any) -> Message:
    """A message as JSON would say it."""
    name = message.DESCRIPTOR.name
    found: Message = {}
    for field, value in message.ListFields():
        ours = MESSAGES[name][field.name]
        if ours.many == "list":
            found[field.name] = [decoded(one) for one in value]
        elif ours.many == "map":
            found[field.name] = {key: decoded(value[key]) if ours.is_message else value[key] for key in value}
        elif ours.is_message:
            found[field.name] = decoded(value)
        else:
            found[field.name] = _plain(value) if ours.kind == "bytes" else value
    return {**ALWAYS.get(name, {}), **found}


def _plain(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data
