"""Who is blocked, as the cluster's first Redis keeps it: users and addresses, each until a time of Redis's clock.

Owns the keys and the scripts. What is over is out of every answer at once, and out of Redis with the next block or
with the last one's end. The version grows with every change, so that instances see by one number whether to read.
"""

import json
from typing import Any, NamedTuple

from flotilla.ratelimit.http.addresses import counted
from flotilla.realtime.protocol.codes import CommandError, ErrorCode
from flotilla.store import Script, Store, reading, whole_placement
from flotilla.store.resp import Argument

BLOCK, UNBLOCK, READ, REBLOCK = (
    Script.load("flotilla.realtime.blocks", name) for name in ("block", "unblock", "blocks", "reblock")
)
MAX_BLOCKS = 10_000  # blocks at a time: every instance holds them all
MAX_SECONDS = 10 * 365 * 86_400  # seconds
MAX_NAME = 255  # characters of a user or address
USER = "u:"
ADDRESS = "a:"


class Block(NamedTuple):
    """One block. `until` in Unix seconds; `about` is what was said when it was made ("by", "note")."""

    who: str
    until: float
    about: dict[str, Any]

    @property
    def name(self) -> str:
        """The user or address alone."""
        return self.who.partition(":")[2]

    @property
    def is_address(self) -> bool:
        """Whether an address is blocked, not a user."""
        return self.who.startswith(ADDRESS)


def who_of(user: str | None, address: str) -> str:
    """How a user or an address stands in the list; an address as it is counted by limits, so IPv6 by its /64.

    Raises ValueError unless exactly one is given.
    """
    if bool(user) == bool(address):
        raise ValueError("say whom to block: a user or an address (a visitor has no user)")
    who = USER + user if user else ADDRESS + counted(address)
    if len(who) > MAX_NAME:
        raise ValueError(f"a user or address has at most {MAX_NAME} characters")
    return who


def _keys(*kinds: str) -> list[str]:
    placement = whole_placement("blocks")
    return [placement.key(f"block-{kind}") for kind in kinds]


def version_key() -> str:
    """String: how often the list was changed."""
    return _keys("version")[0]


def add(store: Store, who: str, seconds: float, about: dict[str, Any]) -> int:
    """Block somebody; returns the list's version. Raises CommandError 106 when too many are blocked."""
    arguments: list[Argument] = [who, max(1, int(seconds * 1000)), json.dumps(about), MAX_BLOCKS]
    version, _ = store.first.run_sync(BLOCK, _keys("ends", "about", "version"), arguments)
    if version < 0:
        raise CommandError(ErrorCode.LIMIT_EXCEEDED, f"{MAX_BLOCKS} users and addresses are blocked already")
    return int(version)


def remove(store: Store, who: str) -> int:
    """End a block; returns the list's version, 0 when there was no such block."""
    return int(store.first.run_sync(UNBLOCK, _keys("ends", "about", "version"), [who]))


def some(store: Store, start: int, count: int) -> tuple[int, list[Block]]:
    """How many are blocked, and `count` of them from place `start` on; those whose block ends first come first."""
    seconds, micros = store.first.execute_sync("TIME")
    ends, about = _keys("ends", "about")
    now = f"({int(seconds) * 1000 + int(micros) // 1000}"
    total = store.first.execute_sync("ZCOUNT", ends, now, "+inf")
    flat = store.first.execute_sync("ZRANGEBYSCORE", ends, now, "+inf", "WITHSCORES", "LIMIT", start, count)
    names = flat[::2]
    told = store.first.execute_sync("HMGET", about, *names) if names else []
    return int(total), [_block(*one) for one in zip(names, flat[1::2], told, strict=True)]


def find(store: Store, names: list[str]) -> list[Block]:
    """Those of these who are blocked."""
    ends, about = _keys("ends", "about")
    seconds, _ = store.first.execute_sync("TIME")
    until, told = store.first.execute_sync("ZMSCORE", ends, *names), store.first.execute_sync("HMGET", about, *names)
    found = [_block(name.encode(), end, said) for name, end, said in zip(names, until, told, strict=True) if end]
    return [block for block in found if block.until > int(seconds)]


def _block(who: bytes, end: bytes, about: bytes | None) -> Block:
    return Block(who.decode(), float(end) / 1000, json.loads(about) if about else {})


async def version(store: Store) -> int:
    """The list's version; 0 when there never was one, or Redis lost it."""
    answer = await store.first.execute("GET", version_key())
    with reading("the version of the list of blocks"):
        return int(answer or 0)


async def read(store: Store) -> tuple[int, dict[str, float]]:
    """The version, and everybody who is blocked with the seconds left."""
    answer = await store.first.run(READ, _keys("ends", "version"), [])
    with reading("the list of blocks"):
        found, *flat = answer
        return int(found), {who.decode(): left / 1000 for who, left in zip(flat[::2], flat[1::2], strict=True)}


async def put_back(store: Store, seen: int, left: dict[str, float]) -> None:
    """Give Redis the blocks it has lost: who, and the seconds left."""
    pairs = [part for who, seconds in left.items() for part in (who, max(1, int(seconds * 1000)))]
    await store.first.run(REBLOCK, _keys("ends", "version"), [seen, *pairs])
