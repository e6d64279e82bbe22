"""On a cluster, whatever the product asks of a shard names keys and topics of that shard's slot alone.

Redis refuses a call that names several slots, but not one that goes to the shard of another slot which the same node
happens to have: it works until they part. So every call is looked at, in whichever test it is made. Calls that tests
make themselves do not count.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import hiredis
import pytest

from flotilla.store import Shard
from flotilla.store.address import parse
from flotilla.store.resp import pack
from flotilla.store.slots import key_slot

KEYLESS = {b"TIME", b"INFO", b"PING", b"SCRIPT", b"SCAN", b"CLUSTER", b"FLUSHALL", b"ECHO"}
ALL_KEYS = {b"DEL", b"EXISTS", b"UNLINK", b"MGET", b"TOUCH"}
TOPIC = re.compile(rb"[^\s\x00]*__group__\{[^{}]*\}[0-9a-z.]+")

found: list[str] = []
"""What was asked of a wrong shard since it was looked at last."""


def slots(words: Sequence[bytes]) -> set[int]:
    """The slots of all keys and topics of a command."""
    name = words[0].upper()
    if name in (b"EVALSHA", b"EVAL"):
        keys = int(words[2])
        named = [*words[3 : 3 + keys], *(word for word in words[3 + keys :] if TOPIC.fullmatch(word))]
    elif name in KEYLESS:
        named = []
    else:
        named = list(words[1:] if name in ALL_KEYS else words[1:-1] if name == b"BLPOP" else words[1:2])
    return {key_slot(one.decode()) for one in named}


def look(shard: Shard, words: Sequence[bytes]) -> None:
    """Note a command that does not belong to the shard."""
    own = parse(shard.url).slot
    if own is None or slots(words) <= {own} or _by_a_test():
        return
    found.append(f"{shard} (slot {own}): {b' '.join(words)[:300]!r} is of {sorted(slots(words))}")


def _by_a_test() -> bool:
    frame: Any = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if "/tests/" in file and file != __file__:
            return True
        if "/tests/" not in file and "/store/" not in file:
            return False
        frame = frame.f_back
    return True


def _unpacked(packed: bytes) -> list[bytes]:
    reader = hiredis.Reader()
    reader.feed(packed)
    words: list[bytes] = reader.gets()
    return words


@pytest.fixture(autouse=True)
def one_slot() -> Iterator[None]:
    """Fails a test in which a shard was asked for what is not its own."""
    found.clear()
    yield
    assert not found, "\n".join(found)


def begin() -> None:
    """Look at all calls from now on."""

    def looked_at(name: str, commands: Any) -> None:
        inner = getattr(Shard, name)

        def call(shard: Shard, *args: Any, **options: Any) -> Any:
            for packed in commands(*args):
                look(shard, _unpacked(packed))
            return inner(shard, *args, **options)

        setattr(Shard, name, call)

    def script(one: Any, keys: Any, args: Any) -> bytes:
        return pack(("EVALSHA", one.sha, len(keys), *keys, *args))

    looked_at("start", lambda one, keys, args: [script(one, keys, args)])
    looked_at("run_sync", lambda one, keys, args: [script(one, keys, args)])
    looked_at("run_many_sync", lambda calls: [script(*call) for call in calls])
    looked_at("send", lambda packed, *_: [packed])
    looked_at("send_sync", lambda packed, *_: [packed])
    looked_at("call", lambda *words: [pack(words)])
    looked_at("execute_sync", lambda *words: [pack(words)])
    looked_at("batch_sync", lambda commands: [pack(tuple(words)) for words in commands])


__all__ = ["begin", "found", "look", "one_slot", "slots"]
