"""The operations are found, and the previous release, beside which this one runs during a rolling restart, reads the
same messages."""

from typing import Any

import msgspec
import pytest

from flotilla.realtime.node.control import Command
from flotilla.realtime.node.operations import all_operations
from flotilla.realtime.node.operations.active_channels import ActiveChannels, pattern
from flotilla.realtime.node.operations.block import Block
from flotilla.realtime.node.operations.channels import Channels
from flotilla.realtime.node.operations.connections import Connections
from flotilla.realtime.node.operations.count import Count
from flotilla.realtime.node.operations.disconnect import Disconnect
from flotilla.realtime.node.operations.drain import Drain
from flotilla.realtime.node.operations.message import Message
from flotilla.realtime.node.operations.reauthorize import Reauthorize
from flotilla.realtime.node.operations.refresh import Refresh
from flotilla.realtime.node.operations.subscribe import Subscribe
from flotilla.realtime.node.operations.unblock import Unblock
from flotilla.realtime.node.operations.unsubscribe import Unsubscribe
from flotilla.realtime.node.operations.users import Users

ANSWERS = "rt:{control}:answers:00"

MESSAGES: list[tuple[bytes, Command]] = [
    (
        b'{"op":"disconnect","user":"7","code":3503,"reason":"force disconnect","keep":["c1"],'
        b'"answer_to":"rt:{control}:answers:00"}',
        Disconnect(user="7", code=3503, reason="force disconnect", keep=["c1"], answer_to=ANSWERS),
    ),
    (
        b'{"op":"disconnect","user":"7","login":"ab","code":3507,"reason":"logged out"}',
        Disconnect(user="7", login="ab", code=3507, reason="logged out"),
    ),
    (
        b'{"op":"unsubscribe","client":"c1","channel":"room:7","code":2000,"reason":"server unsubscribe"}',
        Unsubscribe(client="c1", channel="room:7", code=2000, reason="server unsubscribe"),
    ),
    (
        b'{"op":"subscribe","user":"7","channel":"room:7","info":"eyJhIjoxfQ==","data":"bnVsbA==",'
        b'"expire_at":1800000000.5,"since":[4,"ep"],"overrides":{"presence":true}}',
        Subscribe(
            user="7",
            channel="room:7",
            info=b'{"a":1}',
            data=b"null",
            expire_at=1800000000.5,
            since=(4, "ep"),
            overrides={"presence": True},
        ),
    ),
    (
        b'{"op":"refresh","user":"7","client":"c1","info":"Ingi","expire_at":1800000000.0,"expired":true}',
        Refresh(user="7", client="c1", info=b'"x"', expire_at=1800000000.0, expired=True),
    ),
    (b'{"op":"reauthorize"}', Reauthorize()),
    (
        b'{"op":"reauthorize","users":["7","8"],"channel":"room:7"}',
        Reauthorize(users=["7", "8"], channel="room:7"),
    ),
    (
        b'{"op":"message","user":"","channel":"room:7","data":"eyJ0ZXh0IjoiaGkifQ=="}',
        Message(user="", channel="room:7", data=b'{"text":"hi"}'),
    ),
    (b'{"op":"block","user":"7","seconds":60.0,"version":3}', Block(user="7", seconds=60, version=3)),
    (
        b'{"op":"block","address":"203.0.113.7","seconds":60,"version":4}',
        Block(address="203.0.113.7", seconds=60, version=4),
    ),
    (b'{"op":"unblock","user":"7"}', Unblock(user="7")),
    (b'{"op":"drain","instance":"web-1.9f"}', Drain(instance="web-1.9f")),
    (b'{"op":"count","user":"7"}', Count(user="7")),
    (
        b'{"op":"connections","user":"7","channel":"room:7","text":"fire","after":"c1","limit":51}',
        Connections(user="7", channel="room:7", text="fire", after="c1", limit=51),
    ),
    (b'{"op":"users","text":"7","after":"6","limit":51}', Users(text="7", after="6", limit=51)),
    (
        b'{"op":"active","text":"room:*","after":"room:6","limit":51}',
        ActiveChannels(text="room:*", after="room:6", limit=51),
    ),
    (b'{"op":"active","channel":"room:7","limit":1}', ActiveChannels(channel="room:7", limit=1)),
    (b'{"op":"channels"}', Channels()),
]
"""As the release 0.1 wrote them, and what they say."""


class Former(msgspec.Struct, omit_defaults=True):
    """How the release 0.1 read and wrote every command."""

    op: str
    user: str | None = None
    users: list[str] | None = None
    client: str = ""
    channel: str = ""
    login: str = ""
    address: str = ""
    instance: str = ""
    code: int = 0
    reason: str = ""
    keep: list[str] = []
    info: bytes | None = None
    data: bytes | None = None
    expire_at: float | None = None
    expired: bool = False
    since: tuple[int, str] | None = None
    overrides: dict[str, bool] = {}
    seconds: float = 0.0
    version: int = 0
    text: str = ""
    after: str = ""
    limit: int = 0
    answer_to: str = ""


def told(message: bytes) -> dict[str, Any]:
    """What a message says to the release 0.1."""
    return msgspec.structs.asdict(msgspec.json.decode(message, type=Former))


def test_every_operation_is_found() -> None:
    """By its name on the wire; each of 0.1 is still here."""
    assert {msgspec.json.decode(message)["op"] for message, _ in MESSAGES} <= all_operations().keys()


@pytest.mark.parametrize(("message", "command"), MESSAGES)
def test_what_the_previous_release_wrote_is_read(message: bytes, command: Command) -> None:
    """Every field, as it was meant."""
    op = msgspec.json.decode(message)["op"]
    assert all_operations()[op].read(message) == command


@pytest.mark.parametrize(("message", "command"), MESSAGES)
def test_the_previous_release_reads_what_is_written(message: bytes, command: Command) -> None:
    """As if it had written it itself."""
    assert told(msgspec.json.encode(command)) == told(message)


@pytest.mark.parametrize("operation", all_operations().values())
def test_fields_that_a_later_release_adds_are_passed_over(operation: Any) -> None:
    """Nobody knows today what they are."""
    op = operation.carry_out.__annotations__["command"].__struct_config__.tag
    operation.read(msgspec.json.encode({"op": op, "channel": "room:7", "volume": 11}))


def test_a_pattern_is_a_glob_or_a_beginning() -> None:
    """As one looks for channels."""
    assert pattern("room:")("room:7") and not pattern("room:")("a room:")
    assert pattern("room:?")("room:7") and not pattern("room:?")("room:77")
