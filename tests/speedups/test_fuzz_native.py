"""The compiled functions on input of any kind, beside those in Python: the same answers, no crash, and nothing kept."""

import gc
import random
import sys
from collections.abc import Callable
from typing import Any

import msgpack
import psutil
import pytest

from flotilla.realtime.engine import envelope
from flotilla.speedups.pure import protobuf
from tests import fuzzing
from tests.both_implementations import NATIVE, PYTHON
from tests.raw_frames import BINARY, TEXT, frame

pytestmark = [
    pytest.mark.timeout(fuzzing.MAX_SECONDS),
    pytest.mark.skipif(NATIVE is None, reason="flotilla._speedups is not compiled"),
]
MAX = 1000
ROUNDS = 400  # of the same input, while memory is watched
ALLOWED = 2 << 20  # bytes by which the process may grow for other reasons; a lost buffer a round would be more


def outcome(call: Callable[..., Any], *arguments: Any) -> Any:
    """What a call gives, or the kind of its exception."""
    try:
        return call(*arguments)
    except (TypeError, ValueError, OverflowError) as error:
        return type(error)


def frames(chance: random.Random) -> bytes:
    """A stream of frames, of which most are proper."""
    if chance.random() < 0.3:
        return b"".join(frame(chance.choice((TEXT, BINARY)), chance.randbytes(chance.randrange(300))) for _ in range(9))
    return fuzzing.stream(chance)


def announcement(chance: random.Random) -> bytes:
    """A publication as Redis announces it, or something like it."""
    numbers = [chance.choice((0, 1, 127, 128, 255, 256, 65536, 2**32, 2**53, 2**64 - 1, -1, 1.5)) for _ in range(3)]
    values = ["ü" * chance.choice((0, 1, 20, 200)), chance.randbytes(chance.choice((0, 9, 300))), "abc.1", *numbers]
    whole: bytes = msgpack.packb({"type": "pub"} | dict(zip("cdeotn", values, strict=True)))
    return fuzzing.damaged(chance, whole) if chance.random() < 0.6 else whole


def arguments(chance: random.Random) -> tuple[Any, ...]:
    """Arguments of a command, mostly proper."""
    kinds: list[Any] = [b"\r\n", "ü", "", 5, -5, 2**70, 0.1, b"x" * 300, "EVALSHA"]
    if chance.random() < 0.1:
        kinds.append(chance.choice((None, "\ud800")))
    return tuple(chance.choice(kinds) for _ in range(chance.randrange(1, 40)))


def look(name: str, chance: random.Random) -> None:
    """Both implementations on one input of each kind."""
    wire, most = frames(chance), chance.choice((0, 1, 125, MAX, 2**63 - 1))
    start = chance.randrange(len(wire) + 2) if chance.random() < 0.5 else 0
    assert NATIVE.first_text(wire, start, most) == PYTHON.first_text(wire, start, most), name
    assert NATIVE.first_binary(wire, start, most) == PYTHON.first_binary(wire, start, most), name
    payload, mask = chance.randbytes(chance.randrange(70)), chance.randbytes(4)
    assert NATIVE.unmask(payload, mask) == PYTHON.unmask(payload, mask), name
    opcode, offset = chance.randrange(16), chance.choice((0, 1, 99, 100, 2**53, 2**63))
    assert NATIVE.framed(opcode, wire) == PYTHON.framed(opcode, wire), name
    body = b"{" + payload + b"}"
    assert NATIVE.publication_push(mask, body, offset) == PYTHON.publication_push(mask, body, offset), name
    command = arguments(chance)
    assert outcome(NATIVE.pack, command) == outcome(PYTHON.pack, command), name
    look_at_publication(name, announcement(chance))
    changed = b"".join(chance.choice((part, part, fuzzing.damaged(chance, part + b"."))) for part in (wire, body, wire))
    assert NATIVE.fossil_delta(wire + body, changed) == PYTHON.fossil_delta(wire + body, changed), name
    look_at_protobuf(name, chance)


def look_at_protobuf(name: str, chance: random.Random) -> None:
    """A publish command that is mostly proper, and the push of a publication."""
    parts = [chance.randbytes(chance.choice((0, 1, 50, 127, 128, 300))) for _ in range(4)]
    offset = chance.choice((0, 1, 127, 128, 2**32, 2**64 - 1))
    arguments = (parts[0], parts[1], parts[2], offset, parts[3])
    assert NATIVE.protobuf_push(*arguments) == PYTHON.protobuf_push(*arguments), name
    id = chance.choice((0, 1, 127, 128, 2**32 - 1, 2**32, 2**64 - 1))
    channel = chance.choice((b"room:1", b"", "ü".encode() * 100, b"\xff"))
    publish = protobuf.sized(0x0A, channel) + protobuf.sized(0x12, parts[1])
    command = b"\x08" + protobuf.varint(id) + protobuf.sized(0x3A, publish)
    message = parts[0] + protobuf.varint(len(command)) + command + chance.choice((b"", b"\x00", parts[2]))
    if chance.random() < 0.5:
        message = fuzzing.damaged(chance, message)
    start = chance.choice((len(parts[0]), 0, chance.randrange(len(message) + 2)))
    found = outcome(PYTHON.protobuf_publish, message, start)
    assert outcome(NATIVE.protobuf_publish, message, start) == found, name


def look_at_publication(name: str, announced: bytes) -> None:
    """What is read is what msgpack reads."""
    found = NATIVE.read_publication(announced)
    if found is not None:
        meant = envelope.decode(announced)
        assert meant.pop("type") == envelope.PUBLICATION, name
        assert found == tuple(meant[key] for key in "cdeotn"), name


def test_both_give_the_same() -> None:
    for name, chance in fuzzing.cases(least=2_000):
        look(name, chance)


def test_nothing_is_kept() -> None:
    """Not of what was read, nor of what could not be: memory stays where it is, whatever came."""
    _look_at_all(ROUNDS // 2)
    grown = []
    for _ in range(3):  # what other threads of the process keep meanwhile is not kept each time
        before, blocks = psutil.Process().memory_info().rss, sys.getallocatedblocks()
        _look_at_all(ROUNDS)
        grown.append((sys.getallocatedblocks() - blocks, psutil.Process().memory_info().rss - before))
    assert min(blocks for blocks, _ in grown) < ROUNDS, grown  # objects: less than one a round
    assert min(size for _, size in grown) < ALLOWED, grown


def _look_at_all(rounds: int) -> None:
    for round_ in range(rounds):
        look("", random.Random(f"{fuzzing.SEED} {round_ % 20}"))
        strange(round_)
    gc.collect()


class Strange:
    """What has a descriptor, of a kind."""

    def __init__(self, descriptor: Any) -> None:
        self.descriptor = descriptor


def strange(times: int) -> None:
    """Calls as no module of ours makes them: refused, whatever they are given."""
    large = b"x" * 10_000
    calls: list[tuple[Any, ...]] = [
        *((name, *(None,) * count) for name in vars(PYTHON) for count in range(5)),
        ("unmask", large, b"123"),
        ("unmask", "text", b"1234"),
        ("first_text", large, 0, "5"),
        ("first_text", frame(TEXT, large), 10**30, 5),
        ("framed", 16, large),
        ("framed", -1, large),
        ("framed", 10**30, large),
        ("publication_push", b"", b"}", 1),
        ("publication_push", large, large, -1),
        ("publication_push", large, large, 2**64),
        ("fossil_delta", large, "text"),
        ("fossil_delta", None, large),
        ("pack", (large, 10**30, None)),
        ("pack", (10**30, "\ud800")),
        ("pack", (*range(100), None)),
        ("send_to_all", [Strange(None)] * 50, large),
        ("send_to_all", [Strange(10**30)], large),
        ("send_to_all", [Strange(-1)], "text"),
        ("send_to_all", [object()] * (times % 50 + 1), large),
    ]
    for name, *given in calls:
        with pytest.raises((TypeError, ValueError, OverflowError, AttributeError)):
            getattr(NATIVE, name)(*given)


def test_descriptors_that_are_none_are_told() -> None:
    """A number that is no socket's is no more than one that takes nothing."""
    outlets = [Strange(number) for number in (-1, -7, 2**31 - 1, 2**40, 10**6)]
    assert NATIVE.send_to_all(outlets, b"hello") == [(one, 0) for one in outlets]
