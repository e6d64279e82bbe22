"""Deltas between payloads of any kind make the target again; what is damaged is refused, and costs no more."""

import json
import random

import pytest

from flotilla.realtime.protocol.fossil import BadDelta, apply_delta, worthwhile_delta
from flotilla.speedups import fossil_delta
from tests.fuzzing import MAX_SECONDS, cases, damaged

pytestmark = pytest.mark.timeout(MAX_SECONDS)
MOST = 20_000
ALPHABETS = ("ab", "ü€🚀a", "abcdefghijklmnop", '0123456789",:{}[]')


def text(chance: random.Random) -> bytes:
    """A payload, mostly of few characters, so that much of it is alike."""
    if chance.random() < 0.1:
        return chance.randbytes(chance.randrange(300))
    if chance.random() < 0.3:
        return json.dumps([{"id": i, "score": chance.randrange(99)} for i in range(chance.randrange(60))]).encode()
    return "".join(chance.choices(chance.choice(ALPHABETS), k=chance.randrange(500))).encode()


def changed(chance: random.Random, payload: bytes) -> bytes:
    """The payload with parts left out, put in, doubled, or replaced."""
    for _ in range(chance.randrange(6)):
        begin = chance.randrange(len(payload) + 1)
        end = min(len(payload), begin + chance.randrange(60))
        between = (b"", payload[begin:end] * 2, text(chance)[:60], chance.randbytes(3))[chance.randrange(4)]
        payload = payload[:begin] + between + payload[end:]
    return payload


def test_deltas_make_the_target_or_are_refused() -> None:
    for name, chance in cases(least=2_000):
        source = text(chance)
        target = text(chance) if chance.random() < 0.1 else changed(chance, source)
        delta = fossil_delta(source, target)
        assert apply_delta(source, delta) == target, name
        assert worthwhile_delta(source, target) in (None, delta), name
        if is_text(target):
            assert is_text(delta), name
        other = damaged(chance, delta) if chance.random() < 0.8 else chance.randbytes(chance.randrange(1, 40))
        try:
            made = apply_delta(source, other, MOST)
        except BadDelta:
            continue
        assert len(made) <= MOST, name


def is_text(data: bytes) -> bool:
    """Whether it is UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
