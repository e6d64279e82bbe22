"""Following a channel, a user or a connection live, over all instances: the side of who looks.

A tail is begun once (`begin`); whoever has its `Look` collects what was seen, in a thread (`collect_sync`) or in a
coroutine (`follow`), in this process or another, and says meanwhile that it still looks. When nobody does any more, the
instances stop by themselves (`node.tails`). All raise StoreUnavailable.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator
from typing import Any, Literal, NamedTuple

import msgspec

from flotilla.presence.inspection import instances
from flotilla.presence.leases import alive_sync
from flotilla.realtime.api.prepared import order
from flotilla.realtime.node.control import ASK_WITHIN, Acknowledged, Control, tail_key
from flotilla.realtime.node.node import current_node
from flotilla.realtime.node.operations.tail import Tail
from flotilla.realtime.node.tail_events import Event
from flotilla.store import StoreUnavailable, get_store

About = Literal["channel", "user", "client"]

LASTS = 600.0  # seconds a tail lasts at most
MAX_EVENTS = 10_000  # of one tail
RENEW_EVERY = 2.0  # seconds between saying that somebody still looks
COLLECT_EVERY = 0.25  # seconds
BATCHES = 20  # collected at a time
LAST_WORDS = 1.0  # seconds for saying that nobody looks any more

_events = msgspec.json.Decoder(list[Event]).decode


class Look(NamedTuple):
    """A tail that was begun: what it is about, whether payloads are shown, and when it ends (Unix seconds)."""

    id: str
    about: About
    name: str
    payloads: bool
    until: float

    @property
    def is_over(self) -> bool:
        """Whether its time is up."""
        return time.time() >= self.until


def begin(
    about: About, name: str, *, payloads: bool = False, seconds: float = LASTS, within: float = ASK_WITHIN
) -> tuple[Look, Acknowledged]:
    """Follow it from now on, for so many seconds at most: `hit` says how many instances do."""
    look = Look(secrets.token_hex(16), about, name, payloads, time.time() + min(seconds, LASTS))
    living = alive_sync(get_store())
    return look, order(_command(look, living), within).run()


def collect_sync(look: Look) -> list[Event]:
    """What was seen since the last time, and say that somebody still looks; for threads."""
    store = get_store()
    Control(store).tell_sync(_command(look, alive_sync(store)))
    found = store.first.execute_sync("LPOP", tail_key(look.id), BATCHES)
    return _read(found)


def end_sync(look: Look) -> None:
    """Nobody looks any more; for threads."""
    Control(get_store()).tell_sync(Tail(id=look.id, over=True))


async def follow(look: Look) -> AsyncGenerator[list[Event], None]:
    """What is seen, as it comes, in order as far as one instance goes; an empty list says at times that nothing was.

    Ends with the look's time, after MAX_EVENTS, and when this process drains: then another may go on.
    """
    store, told, left = get_store(), 0.0, MAX_EVENTS
    moved = False
    try:
        while left > 0 and not look.is_over:
            node = current_node()
            if moved := node is not None and node.draining:
                return
            due = time.monotonic() >= told + RENEW_EVERY
            if due:
                told = time.monotonic()
                await Control(store).tell(_command(look, await instances(store)))
            seen = _read(await store.first.execute("LPOP", tail_key(look.id), BATCHES))[:left]
            left -= len(seen)
            if seen or due:
                yield seen
            await asyncio.sleep(COLLECT_EVERY)
    finally:
        if not moved:
            await _end(look)


async def _end(look: Look) -> None:
    """Say that nobody looks any more. Where that does not arrive, it ends by itself."""
    try:
        async with asyncio.timeout(LAST_WORDS):
            await Control(get_store()).tell(Tail(id=look.id, over=True))
    except (StoreUnavailable, TimeoutError):
        return


def _command(look: Look, living: list[dict[str, Any]]) -> Tail:
    """One of the instances listens to a channel for all of them: the same one, as long as it is there."""
    staying = [about["incarnation"] for about in living if not about.get("draining")]
    listener = min(staying, default="") if look.about == "channel" else ""
    return Tail(id=look.id, about=look.about, name=look.name, listener=listener, payloads=look.payloads)


def _read(batches: list[bytes] | None) -> list[Event]:
    return [event for batch in batches or [] for event in _events(batch)]
