"""What travels and where it stands: publications and stream positions."""

from dataclasses import dataclass
from typing import NamedTuple


class StreamPosition(NamedTuple):
    """A place in a channel's stream. The same offset under another epoch is another publication."""

    epoch: str
    offset: int


@dataclass(frozen=True, slots=True)
class Publication:
    """One publication: `body` is its JSON object without the offset; offset 0 means the channel keeps no history."""

    offset: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """A piece of history and the stream's top when it was read. `overflow`: more would follow than the bytes allow."""

    top: StreamPosition
    publications: tuple[Publication, ...] = ()
    overflow: bool = False
