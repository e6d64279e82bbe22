"""Publications, and their positions in a channel's stream."""

from dataclasses import dataclass
from typing import NamedTuple


class StreamPosition(NamedTuple):
    """How far a channel's stream is, or somebody in it. The same offset under another epoch is another publication."""

    epoch: str
    offset: int


class Publication(NamedTuple):
    """One publication: `body` is its JSON object without the offset; offset 0 means the channel keeps no history."""

    offset: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """A piece of history and the stream's top when it was read. `overflow`: more would follow than the bytes allow."""

    top: StreamPosition
    publications: tuple[Publication, ...] = ()
    overflow: bool = False
