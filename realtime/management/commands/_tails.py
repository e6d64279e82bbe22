"""`manage.py tail --user` and `--client`: what a user or a connection asks, is answered and is given, as it happens,
over all instances. The admin's live tails stand on the same."""

import time
from collections.abc import Generator
from typing import Any

import msgspec

from flotilla.realtime.api.tails import MAX_EVENTS, About, begin, collect_sync, end_sync
from flotilla.realtime.management.commands._table import clock, printable
from flotilla.realtime.node.tail_events import Event

COLLECT_EVERY = 0.5  # seconds
NOBODY = "no instance follows it: each follows only so many things at a time, and has to be reached"


def events(about: About, name: str, payloads: bool) -> Generator[Event, None, None]:
    """What is seen, until its time is up or enough was; for a thread. Ending early ends the tail. Raises ValueError
    when no instance follows it, and StoreUnavailable."""
    look, done = begin(about, name, payloads=payloads)
    if not done.hit:
        raise ValueError(NOBODY)
    left = MAX_EVENTS
    try:
        while left > 0 and not look.is_over:
            seen = collect_sync(look)[:left]
            left -= len(seen)
            yield from seen
            time.sleep(COLLECT_EVERY)
    finally:
        end_sync(look)


def shown(event: Event) -> str:
    """An event on one line."""
    payload = "" if event.size is None else event.data if event.data is not None else f"({event.size} bytes, masked)"
    parts = (clock(event.at), event.kind, event.client[:8], event.channel, event.text, payload, event.instance)
    return "  ".join(printable(part) for part in parts if part)


def told_of(event: Event) -> dict[str, Any]:
    """An event as a document."""
    found: dict[str, Any] = msgspec.to_builtins(event)
    return found
