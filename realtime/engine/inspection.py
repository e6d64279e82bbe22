"""Inspection of streams: what Redis keeps of many channels, read with one round trip to each Redis.

Nothing is changed: reading history keeps a stream alive, an inspection does not.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from flotilla.realtime.engine.calls import StreamOptions, keeps_history
from flotilla.store import Placement, Store, placement_of
from flotilla.store.resp import Argument

PER_CHANNEL = 3


@dataclass(frozen=True, slots=True)
class StreamState:
    """A stream: its top, how many publications are kept, and when the last one came (Unix seconds, 0: not known)."""

    epoch: str = ""
    top: int = 0
    stored: int = 0
    published_at: float = 0.0


def stream_states(store: Store, channels: Sequence[tuple[str, StreamOptions]]) -> list[StreamState]:
    """The streams of channels with these options, in order. Raises StoreUnavailable."""
    asked: list[tuple[Placement, Sequence[Argument]]] = []
    for name, _ in channels:
        placement = placement_of(name)
        meta, stream = placement.key("meta"), placement.key("stream")
        asked += [(placement, ("HMGET", meta, "e", "t")), (placement, ("XLEN", stream)), (placement, ("PTTL", stream))]
    replies = store.batch_sync(asked)
    now = time.time()
    rows = [replies[start : start + PER_CHANNEL] for start in range(0, len(replies), PER_CHANNEL)]
    both = zip(rows, channels, strict=True)
    return [_state(position, stored, left, options, now) for (position, stored, left), (_, options) in both]


def _state(position: list[bytes | None], stored: int, left: int, options: StreamOptions, now: float) -> StreamState:
    epoch, top = position
    # A publication sets the stream's expiry anew: the time that is left says when the last one came.
    known = left > 0 and keeps_history(options)
    published_at = min(now, now + left / 1000 - options.history_ttl) if known else 0.0
    counted = min(int(stored), options.history_size) if keeps_history(options) else int(stored)  # trimmed a little late
    return StreamState((epoch or b"").decode(), int(top or 0), counted, published_at)
