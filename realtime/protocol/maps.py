"""Maps in the protocol: the types and phases of a subscription, and the bodies of entries.

An entry is a publication whose key stands first in its body, and which clients see: `{"key":…,"data":…,"info":…}`, or
`{"key":…,"removed":true}`. In a body of any other channel a key is the last member, and nobody sees it (`bodies`).
"""

from collections.abc import Mapping
from enum import IntEnum

import msgspec

from flotilla.realtime.protocol import bodies, replies
from flotilla.realtime.protocol.codes import CommandError, ErrorCode

CLIENTS, USERS = "$clients:", "$users:"
"""How the channel of a map of presence is named: what the base channel's name stands behind."""
MAP = 1  # the type in the result of a subscription to any map, and of a publication into one
DEFAULT_PAGE, MAX_PAGE = 100, 1000  # entries

_ENTRY = b'{"key":'


class Type(IntEnum):
    """What a client subscribes to."""

    STREAM = 0
    MAP = 1
    CLIENTS = 2
    USERS = 3


class Phase(IntEnum):
    """How far a client is: it pages through the map's state, then through what has changed since, and is live then."""

    LIVE = 0
    STREAM = 1
    STATE = 2


def is_entry(body: bytes) -> bool:
    """Whether a publication is an entry of a map, or the removal of one."""
    return body.startswith(_ENTRY)


def entry(
    key: str,
    data: bytes,
    info: bytes | None = None,
    tags: Mapping[str, str] | None = None,
    *,
    binary: bool = False,
) -> bytes:
    """The body of an entry; `data` is JSON on one line, or whatever it is where the channel takes bytes (`binary`).

    Raises CommandError 107 for data that some clients' parsers cannot follow.
    """
    body = bodies.binary(data, info, tags) if binary else replies.publication_body(data, info, tags)
    return _ENTRY + replies.encode(key) + b"," + body[1:]


def as_published(key: str, data: bytes, info: bytes | None) -> bytes:
    """The entry that a client published as bytes, where data is JSON. Raises CommandError 107 for what is none."""
    return entry(key, bodies.one_line(data), info)


def require_key(key: str) -> None:
    """Raise CommandError 107 for a key that no entry can have: there is none, or it is too long, or no text."""
    if not key:
        raise CommandError(ErrorCode.BAD_REQUEST, "an entry of a map needs a key")
    bodies.require_key(key)


def key_of(body: bytes) -> str:
    """The key of an entry."""
    return _keyed(body).key


class _Keyed(msgspec.Struct):
    key: str


_keyed = msgspec.json.Decoder(_Keyed).decode
