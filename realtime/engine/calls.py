"""What the broker asks of Redis, as values: which script, on which name, with what. Pure.

The same call is run by a coroutine or by a thread; building it and reading its answer are shared.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol, TypedDict

from flotilla.realtime.engine import envelope
from flotilla.realtime.engine.publication import Page, Publication, StreamPosition, stored
from flotilla.store import Placement, Script, placement_of, reading

PUBLISH, HISTORY, CONFIRM = (
    Script.load("flotilla.realtime.engine", name, needs_partition=True) for name in ("publish", "history", "confirm")
)

IDEMPOTENCY_TTL = 300  # seconds a key is remembered
ROWS_TTL = 3600  # seconds that a channel without history remembers its last row of the outbox
NOWHERE = StreamPosition("", 0)


class StreamOptions(Protocol):
    """The options of a channel that its stream, and what is sent of it, depend on; times in seconds."""

    @property
    def history_size(self) -> int: ...
    @property
    def history_ttl(self) -> float: ...
    @property
    def history_meta_ttl(self) -> float: ...
    @property
    def force_recovery_mode(self) -> str: ...
    @property
    def conflate(self) -> bool: ...
    @property
    def delta_publish(self) -> bool: ...


class RowKeywords(TypedDict, total=False):
    """The keywords of `publish_row`, for who passes them on."""

    skip_history: bool
    version: int
    version_epoch: str
    delta: bool
    trace: Mapping[str, str] | None


class PublishKeywords(RowKeywords, total=False):
    """Those of `publish`."""

    idempotency_key: str


class OutboxPlace(NamedTuple):
    """A row's place among those of its channel. `source`: whose positions these are. `after`: the position of the row
    before it, which has to be there (0: none has), `generation` the one in which that was sent ("": any)."""

    source: str
    position: int
    after: int = 0
    generation: str = ""


class Placed(NamedTuple):
    """What became of a row: `kind` is one of APPENDED, REPEAT, OLD_VERSION, BEHIND. Of a REPEAT the offset is not known
    (0). With BEHIND nothing was appended: `position` is the last row that is there, `epoch` that of the stream, or the
    generation alone where there is no stream. `of_partition`: that partition's count."""

    kind: int
    epoch: str
    offset: int
    position: int
    of_partition: int


APPENDED, REPEAT, OLD_VERSION, BEHIND = range(4)


class HistoryKeywords(TypedDict, total=False):
    """The keywords of `history`, for who passes them on."""

    limit: int
    since: int | None
    reverse: bool
    max_bytes: int
    whole: bool


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


def _partition(placement: Placement) -> tuple[str, str]:
    """The keys of the partition that scripts about a stream want."""
    return placement.partition_key("partition"), placement.partition_key("made")


def milliseconds(seconds: float) -> int:
    """A time as Redis wants it, never none."""
    return max(1, int(seconds * 1000))


def publish(
    channel: str,
    body: bytes,
    options: StreamOptions,
    *,
    idempotency_key: str = "",
    skip_history: bool = False,
    version: int = 0,
    version_epoch: str = "",
    delta: bool = False,
    trace: Mapping[str, str] | None = None,
) -> Call:
    """Append and announce a publication, unless one of its `version` (0: none) or a newer one is there already.
    `delta`: subscribers who can apply a delta are sent one, whatever the channel's options say. `trace`: the headers of
    a sampled span, which those who receive it go on from."""
    placement = placement_of(channel)
    body = stored(body, delta=delta)
    size = 0 if skip_history or not keeps_history(options) else options.history_size
    first, second = placement.marks
    keys: tuple[str, ...] = (placement.key("meta"), placement.key("stream"), *_partition(placement))
    args = (
        placement.topic,
        envelope.publication_head(channel, trace) + envelope.bin_head(len(body)),
        body,
        size,
        f"{milliseconds(options.history_ttl)} {milliseconds(options.history_meta_ttl)} {first} {second}",
    )
    if not idempotency_key and not version:
        return Call(placement, PUBLISH, keys, args)
    if idempotency_key:
        once = blake2b(idempotency_key.encode(), digest_size=12).hexdigest()
        keys = (*keys, placement.key(f"once:{once}"))
    return Call(placement, PUBLISH, keys, (*args, milliseconds(IDEMPOTENCY_TTL), version, version_epoch))


def read_publish(answer: list[Any]) -> tuple[StreamPosition, int]:
    """Where the publication stands (offset 0 when the channel keeps no history), and its partition's count."""
    with reading("a publish"):
        return StreamPosition(answer[0].decode(), answer[1]), answer[3]


def publish_row(
    channel: str,
    body: bytes,
    options: StreamOptions,
    place: OutboxPlace,
    *,
    skip_history: bool = False,
    version: int = 0,
    version_epoch: str = "",
    delta: bool = False,
    trace: Mapping[str, str] | None = None,
) -> Call:
    """As `publish`, of a row of the outbox: unless it was published before, or the row before it was not."""
    call = publish(channel, body, options, skip_history=skip_history, delta=delta, trace=trace)
    rest = (milliseconds(ROWS_TTL), version, version_epoch, *place)
    keys = (*call.keys, call.placement.key("rows"))
    return Call(call.placement, call.script, keys, (*call.args, *rest))


def read_row(answer: list[Any]) -> Placed:
    """What became of a row."""
    with reading("a publish"):
        kind, epoch, number = int(answer[2]), answer[0].decode(), int(answer[1])
        behind = kind == BEHIND
        return Placed(kind, epoch, 0 if behind else number, number if behind else 0, answer[3])


def history(
    channel: str,
    options: StreamOptions,
    *,
    limit: int = 0,
    since: int | None = None,
    reverse: bool = False,
    max_bytes: int = 0,
    whole: bool = False,
) -> Call:
    """Read a piece of history: `limit` 0 for the position alone, -1 for all; `since` is exclusive.

    Of more than `max_bytes` (0: no bound) as much is read as fits, one publication at least; with `whole` none.
    """
    placement = placement_of(channel)
    return Call(
        placement,
        HISTORY,
        (placement.key("meta"), placement.key("stream"), *_partition(placement)),
        (
            milliseconds(options.history_meta_ttl),
            limit,
            "" if since is None else since,
            int(reverse),
            max_bytes,
            int(whole),
            *placement.marks,
            options.history_size,
        ),
    )


def read_history(answer: list[Any]) -> tuple[Page, int]:
    """The page a history call answered with, and the partition's count."""
    with reading("a history"):
        publications = tuple(
            Publication.read(int(offset), body) for offset, body in zip(answer[4::2], answer[5::2], strict=True)
        )
        return Page(StreamPosition(answer[0].decode(), answer[1]), publications, bool(answer[2])), answer[3]


def confirm(channel: str, nonce: str, options: StreamOptions) -> Call:
    """Send a nonce through the channel's group."""
    placement = placement_of(channel)
    return Call(
        placement,
        CONFIRM,
        (placement.key("meta"), *_partition(placement)),
        (
            placement.topic,
            envelope.live_head(channel, nonce),
            int(keeps_history(options)),
            milliseconds(options.history_meta_ttl),
            *placement.marks,
        ),
    )


def forget(channel: str) -> str:
    """The key to delete so that a channel's publications are gone and its position stays."""
    return placement_of(channel).key("stream")
