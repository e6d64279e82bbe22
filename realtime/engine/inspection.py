"""What Redis keeps of channels' streams, for who looks at many at once: a round trip a Redis, and nothing is touched.

Reading history makes a stream where there is none and keeps it alive; looking here does neither.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from flotilla.realtime.engine.calls import StreamOptions, keeps_history
from flotilla.store import Placement, Store, place
from flotilla.store.link import Argument

PER_CHANNEL = 3


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """A stream: its top, how many publications are kept, and when the last one came (Unix seconds, 0: not known)."""

    epoch: str = ""
    top: int = 0
    stored: int = 0
    published_at: float = 0.0


def stream_facts(store: Store, channels: Sequence[tuple[str, StreamOptions]]) -> list[StreamFacts]:
    """The facts of channels with these options, in order. Raises StoreUnavailable."""
    asked: list[tuple[Placement, Sequence[Argument]]] = []
    for name, _ in channels:
        placement = place(name)
        meta, stream = placement.key("meta"), placement.key("stream")
        asked += [(placement, ("HMGET", meta, "e", "t")), (placement, ("XLEN", stream)), (placement, ("PTTL", stream))]
    replies = store.batch_sync(asked)
    now = time.time()
    rows = [replies[start : start + PER_CHANNEL] for start in range(0, len(replies), PER_CHANNEL)]
    both = zip(rows, channels, strict=True)
    return [_facts(position, stored, left, options, now) for (position, stored, left), (_, options) in both]


def _facts(position: list[bytes | None], stored: int, left: int, options: StreamOptions, now: float) -> StreamFacts:
    epoch, top = position
    # A publication gives the stream its full life again: what is left of it tells when the last one came.
    known = left > 0 and keeps_history(options)
    published_at = min(now, now + left / 1000 - options.history_ttl) if known else 0.0
    return StreamFacts((epoch or b"").decode(), int(top or 0), int(stored), published_at)
