"""Commands read by hand: which are, and that the library would read the same."""

import pytest

from flotilla.realtime.protocol.protobuf import commands
from flotilla.realtime.protocol.protobuf.encoding import PROTOBUF
from flotilla.realtime.protocol.protobuf.requests import plain_command
from flotilla.speedups.pure.protobuf import sized
from tests.protobuf_messages import encoded
from tests.realtime.protocol.protobuf.vectors import Vector, vectors

LEFT = {"pong", "connect", "subscribe, filtered", "history"}
"""Vectors that have maps or messages in their requests, or none."""

WHOLE = encoded(
    {"id": 300, "subscribe": {"channel": "room:ü", "token": "t" * 200, "recover": True, "offset": 2**64 - 1}}
)


@pytest.mark.parametrize("vector", vectors("command"), ids=lambda vector: vector.name)
def test_most_commands_are_read_by_hand_as_by_the_library(vector: Vector, monkeypatch: pytest.MonkeyPatch) -> None:
    found = plain_command(vector.bytes)
    assert (found is None) == (vector.name in LEFT)
    monkeypatch.setattr(commands, "plain_command", lambda _: None)
    (same, _), _ = PROTOBUF.read(PROTOBUF.joined([vector.bytes, b""]), 2)
    assert found in (None, same)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x08\x01",
        WHOLE[:-1],
        WHOLE + b"\x08\x01",
        encoded({"id": 2**32, "subscribe": {"channel": "x"}}),
        encoded({"id": 1, "subscribe": {"channel": "x", "phase": 2}}),  # a tag of two bytes
        encoded({"id": 1, "connect": {"headers": {"a": "b"}}}),
        b"\x08\x01" + sized(0x2A, sized(0x0A, b"\xff")),  # a channel that is no text
        b"\x08\x01" + sized(0x2A, b"\x0a\x05x"),  # one that ends behind its message
        b"\x08\x01" + sized(0x2A, b"\x0a\x81\x80\x00x"),  # a length of three bytes
        b"\x08\x01" + sized(0x2A, b"\x38" + b"\xff" * 10),  # a number of more than 64 bits
        b"\x08\x01" + sized(0x2A, sized(0x7A, b"x")),  # a field that nobody knows in this form
    ],
)
def test_all_else_is_left_to_the_library(data: bytes) -> None:
    assert plain_command(data) is None


def test_a_long_token_and_a_large_offset_are_read() -> None:
    command = plain_command(WHOLE)
    assert command is not None
    assert command.subscribe is not None
    assert (command.id, command.subscribe.channel, command.subscribe.token) == (300, "room:ü", "t" * 200)
    assert (command.subscribe.recover, command.subscribe.offset) == (True, 2**63 - 1)  # as far as any stream comes
