"""Protobuf of any kind, read: commands come out, or one of two codes, and nothing else is raised."""

import random
from typing import Any

import pytest

from flotilla.realtime.protocol.codes import CommandError, DisconnectCode, DisconnectError
from flotilla.realtime.protocol.commands import decoded
from flotilla.realtime.protocol.protobuf import commands
from flotilla.realtime.protocol.protobuf.commands import read
from flotilla.realtime.protocol.protobuf.encoding import PROTOBUF
from flotilla.realtime.protocol.protobuf.requests import plain_command
from flotilla.realtime.protocol.protobuf.schema import CLASSES, MESSAGES, Field
from flotilla.speedups.pure.protobuf import sized, varint
from tests import fuzzing
from tests.fuzzing import MAX_SECONDS, cases

MAX = 256
NUMBERS = (0, 1, 127, 128, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1)
PAYLOADS = (b"", b"1", b"{", b'{"a": [1, null]}', b'"\\ud83d"', b"\xff\x00\n", b"[" * 400 + b"]" * 400, b"1e999")
TEXTS = (b"", b"room:1", b"$room", "ü".encode(), b"\xff", b"x" * 300, b"\xed\xa0\x80")
pytestmark = [pytest.mark.timeout(MAX_SECONDS), pytest.mark.usefixtures("implementation")]


def test_messages_are_commands_or_end_the_connection() -> None:
    for name, chance in cases(least=3_000):
        data = frame(chance)
        try:
            found, effort = read(data, MAX)
        except DisconnectError as error:
            assert error.code in (DisconnectCode.BAD_REQUEST, DisconnectCode.TOO_MANY_REQUESTS), name
            continue
        assert 0 < len(found) <= MAX, name
        assert 0 <= effort <= 40 * len(data), name
        for one in found:
            assert 0 <= one.id < 2**32, name
            body = getattr(one, one.method) if one.method else None
            if payload := bytes(getattr(body, "data", b"")):
                check(name, payload)


def check(name: str, payload: bytes) -> None:
    """What handlers rely on."""
    try:
        decoded(payload)  # type: ignore[arg-type]
    except CommandError as error:
        assert error.code == 107, name


def frame(chance: random.Random) -> bytes:
    """Commands, mostly proper, in a frame that is mostly whole."""
    if chance.random() < 0.05:
        return chance.randbytes(chance.randrange(60))
    many = chance.choice((1, 1, 1, 2, 5, 300))
    data = PROTOBUF.joined([message(chance, "Command") if many < 300 else b"" for _ in range(many)])
    return fuzzing.damaged(chance, data) if chance.random() < 0.3 else data


def message(chance: random.Random, name: str, depth: int = 0) -> bytes:
    """Some of the fields of a message, in some order, some more than once, and unknown ones."""
    fields = list(MESSAGES[name].values())
    chosen = [one for one in fields if chance.random() < (0.25 if name == "Command" else 0.6)]
    if chance.random() < 0.2:
        chance.shuffle(chosen)
    written = [field(chance, one, depth) for one in chosen for _ in range(chance.choice((1, 1, 1, 2)))]
    if chance.random() < 0.1:
        written.append(unknown(chance))
    return b"".join(written)


def field(chance: random.Random, one: Field, depth: int) -> bytes:
    if one.kind in ("bool", "int32", "int64", "uint32", "uint64"):
        return bytes((one.number << 3,)) + varint(chance.choice(NUMBERS))
    return sized(one.number << 3 | 2, content(chance, one, depth))


def content(chance: random.Random, one: Field, depth: int) -> bytes:
    if one.many == "map":
        value = content(chance, Field("value", one.kind, 2), depth)
        return sized(0x0A, chance.choice(TEXTS)) + sized(0x12, value)
    if one.is_message:
        deep = one.kind == "FilterNode" and chance.random() < 0.01
        return b"" if depth > (150 if deep else 4) else message(chance, one.kind, depth + 1)
    return chance.choice(PAYLOADS if one.kind == "bytes" else TEXTS)


def unknown(chance: random.Random) -> bytes:
    """A field that nobody knows, of any kind, proper or not."""
    tag = varint(chance.randrange(16, 3000) << 3 | chance.randrange(8))
    return tag + chance.choice((b"\x01", b"\x02ab", b"\x00" * 4, b"\x00" * 8, b"\xff" * 9 + b"\x01", b""))


def test_both_ways_of_reading_agree() -> None:
    """What is read by hand is what the library reads."""
    for name, chance in cases(least=3_000):
        publish = {"channel": "room:1", "data": chance.randbytes(chance.randrange(1, 200))}
        written: Any = CLASSES["Command"](id=chance.randrange(1, 2**32), publish=publish)
        alone = PROTOBUF.joined([written.SerializeToString()])
        (first,), (second, _) = read(alone, 1)[0], read(alone + b"\x00", 2)[0]
        assert first.id == second.id == written.id, name
        assert first.publish is not None, name
        assert second.publish is not None, name
        assert bytes(first.publish.data) == bytes(second.publish.data) == publish["data"], name
        assert first.publish.channel == second.publish.channel == "room:1", name


def test_what_is_read_by_hand_is_what_the_library_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands and refusals, also of what is damaged."""
    by_hand = 0
    for name, chance in cases(least=3_000):
        written = command(chance)
        data = fuzzing.damaged(chance, written) if chance.random() < 0.4 else written
        by_hand += plain_command(data) is not None
        message = PROTOBUF.joined([data, b""])  # not alone: a publish would be read in yet another way
        found = outcome(message)
        with monkeypatch.context() as patched:
            patched.setattr(commands, "plain_command", lambda _: None)
            assert outcome(message) == found, name
    assert by_hand > 500


def outcome(message: bytes) -> Any:
    try:
        return read(message, 2)
    except DisconnectError as error:
        return error.code, str(error)


def command(chance: random.Random) -> bytes:
    """A command with one request, mostly of fields without others in them, and lengths and numbers in any form."""
    method = chance.choice([one for one in MESSAGES["Command"].values() if one.is_message])
    fields = [one for one in MESSAGES[method.kind].values() if not one.is_message or chance.random() < 0.05]
    chosen = chance.choices(fields, k=chance.randrange(6)) if fields else []
    body = b"".join(field(chance, one, 0) if chance.random() < 0.9 else odd(chance, one) for one in chosen)
    id = b"\x08" + varint(chance.choice((1, 200, 70_000, 2**32 - 1, 2**32))) if chance.random() < 0.9 else b""
    head = bytes((method.number << 3 | 2,)) + any_varint(chance, len(body))
    return id + head + body + (id if chance.random() < 0.05 else b"")


def odd(chance: random.Random, one: Field) -> bytes:
    """A field with a number or a length of more bytes than it needs."""
    if one.kind in ("string", "bytes"):
        said = content(chance, one, 0)
        return bytes((one.number << 3 | 2,)) + any_varint(chance, len(said)) + said
    return bytes((one.number << 3,)) + any_varint(chance, chance.choice(NUMBERS))


def any_varint(chance: random.Random, number: int) -> bytes:
    """A number as it is written, or with some bytes more."""
    written = varint(number)
    if chance.random() < 0.8:
        return written
    more = chance.randrange(11)
    return (
        written[:-1]
        + bytes((written[-1] | 128,))
        + b"\x80" * more
        + chance.choice((b"\x00", b"\x00", b"\x01", b"\x02"))
    )
