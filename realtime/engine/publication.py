"""Publications, and their positions in a channel's stream."""

from dataclasses import dataclass
from typing import NamedTuple


class StreamPosition(NamedTuple):
    """How far a channel's stream is, or somebody in it. The same offset under another epoch is another publication."""

    epoch: str
    offset: int


class Publication(NamedTuple):
    """One publication: `body` is its JSON object without the offset; offset 0 means the channel keeps no history.
    `delta`: it was asked for that subscribers who can apply a delta are sent one."""

    offset: int
    body: bytes
    delta: bool = False

    @classmethod
    def read(cls, offset: int, stored: bytes) -> "Publication":
        """A publication as it is announced and kept in history (`stored`)."""
        if stored.startswith(_DELTA):
            return cls(offset, b"{" + stored[len(_DELTA) :], True)
        return cls(offset, stored)


_DELTA = b'{"delta":true,'  # before all other members, so that whoever does not look for it loses no time


def stored(body: bytes, *, delta: bool) -> bytes:
    """What Redis is given of a publication."""
    return _DELTA + body[1:] if delta else body


@dataclass(frozen=True, slots=True)
class Page:
    """A piece of history and the stream's top when it was read. `overflow`: more would follow than the bytes allow."""

    top: StreamPosition
    publications: tuple[Publication, ...] = ()
    overflow: bool = False
