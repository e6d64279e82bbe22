"""What the broker asks of Redis, as values: which script, on which name, with what. Pure.

The same call is run by a coroutine or by a thread; building it and reading its answer are shared.
"""

import secrets
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Protocol

from realtime.engine import envelope
from realtime.engine.publication import Page, Publication, StreamPosition
from store import Placement, Script, place

PUBLISH = Script.load("realtime.engine", "publish")
HISTORY = Script.load("realtime.engine", "history")
CONFIRM = Script.load("realtime.engine", "confirm")

IDEMPOTENCY_TTL = 300  # seconds a key is remembered
NOWHERE = StreamPosition("", 0)


class StreamOptions(Protocol):
    """The options of a channel that its stream depends on; times in seconds."""

    @property
    def history_size(self) -> int: ...
    @property
    def history_ttl(self) -> float: ...
    @property
    def history_meta_ttl(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Call:
    """One script call."""

    placement: Placement
    script: Script
    keys: tuple[str, ...]
    args: tuple[Any, ...]


def keeps_history(options: StreamOptions) -> bool:
    """Whether publications of the channel are kept at all."""
    return options.history_size > 0 and options.history_ttl > 0


def fresh_epoch() -> str:
    """A name for a new stream."""
    return secrets.token_urlsafe(6)


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))


def publish(
    channel: str,
    body: bytes,
    options: StreamOptions,
    seen: StreamPosition = NOWHERE,
    *,
    idempotency_key: str = "",
    skip_history: bool = False,
    version: int = 0,
    version_epoch: str = "",
) -> Call:
    """Append and announce a publication, unless one of its `version` (0: none) or a newer one is there already."""
    placement = place(channel)
    size = 0 if skip_history or not keeps_history(options) else options.history_size
    once = blake2b(idempotency_key.encode(), digest_size=12).hexdigest() if idempotency_key else ""
    return Call(
        placement,
        PUBLISH,
        (placement.key("meta"), placement.key("stream"), placement.key(f"once:{once}")),
        (
            placement.topic,
            envelope.publication_head(channel, body),
            len(body),
            size,
            _milliseconds(options.history_ttl),
            _milliseconds(options.history_meta_ttl),
            fresh_epoch(),
            seen.epoch,
            seen.offset,
            _milliseconds(IDEMPOTENCY_TTL) if once else 0,
            version,
            version_epoch if version else "",
        ),
    )


def read_publish(answer: list[Any]) -> StreamPosition:
    """Where the publication stands; offset 0 when the channel keeps no history."""
    return StreamPosition(answer[0].decode(), answer[1])


def history(
    channel: str,
    options: StreamOptions,
    seen: StreamPosition = NOWHERE,
    *,
    limit: int = 0,
    since: int | None = None,
    reverse: bool = False,
    max_bytes: int = 0,
    claim: str = "",
) -> Call:
    """Read a piece of history: `limit` 0 for the position alone, -1 for all; `since` is exclusive."""
    placement = place(channel)
    return Call(
        placement,
        HISTORY,
        (placement.key("meta"), placement.key("stream")),
        (
            fresh_epoch(),
            seen.epoch,
            seen.offset,
            _milliseconds(options.history_meta_ttl),
            limit,
            "" if since is None else since,
            int(reverse),
            max_bytes,
            claim,
        ),
    )


def read_history(answer: list[Any]) -> Page:
    """The page a history call answered with."""
    pairs = zip(answer[3::2], answer[4::2], strict=True)
    return Page(
        StreamPosition(answer[0].decode(), answer[1]),
        tuple(Publication(int(offset), body) for offset, body in pairs),
        bool(answer[2]),
    )


def confirm(channel: str, nonce: str, options: StreamOptions, seen: StreamPosition = NOWHERE) -> Call:
    """Send a nonce through the channel's group."""
    placement = place(channel)
    return Call(
        placement,
        CONFIRM,
        (placement.key("meta"), placement.key("stream")),
        (
            placement.topic,
            envelope.live_head(channel, nonce),
            int(keeps_history(options)),
            fresh_epoch(),
            seen.epoch,
            seen.offset,
            _milliseconds(options.history_meta_ttl),
        ),
    )


def forget(channel: str) -> str:
    """The key to delete so that a channel's publications are gone and its position stays."""
    return place(channel).key("stream")
