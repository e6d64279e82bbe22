"""The requests that an endpoint gets: how events are written, and how a request is signed. Pure.

The signature covers the time and the body, so that nobody can send an old request again: `t=UNIX_SECONDS`, then a
`v1=HEX` for each secret, of HMAC-SHA256 over `UNIX_SECONDS.BODY`.
"""

import hmac
from collections.abc import Iterable, Sequence

import msgspec

from flotilla.presence.outbox import KINDS

SIGNATURE = "Flotilla-Signature"
UNREADABLE = (msgspec.MsgspecError, UnicodeError)
_NAMES = {letter: name for name, letter in KINDS.items()}


class Stored(msgspec.Struct, array_like=True):
    """An event as presence's scripts write it."""

    number: int
    time: int
    kind: str
    channel: str
    user: str
    client: str
    instance: str
    cause: str


class Event(msgspec.Struct, omit_defaults=True):
    """An event as it is delivered. `id` is its own in the cluster, and stays the same when it is sent again; `time` is
    in Unix seconds, by Redis's clock."""

    id: str
    type: str
    time: float
    channel: str | None = None
    user: str | None = None
    client: str | None = None
    instance: str | None = None
    code: int | None = None
    reason: str | None = None


class Cause(msgspec.Struct):
    """Why a connection ended."""

    code: int
    reason: str = ""


_stored = msgspec.msgpack.Decoder(Stored)
_cause = msgspec.json.Decoder(Cause)


def event_of(raw: bytes, place: str) -> bytes | None:
    """An event as JSON; None for what is none. `place` names the endpoint and the part of its queue."""
    try:
        stored = _stored.decode(raw)
        cause = _cause.decode(stored.cause) if stored.cause else None
        name = _NAMES[stored.kind]
    except (*UNREADABLE, KeyError):
        return None
    about_client = bool(stored.client)
    event = Event(
        f"{place}-{stored.number}-{stored.time}",
        name,
        stored.time / 1000,
        stored.channel or None,
        stored.user if about_client else None,
        stored.client or None,
        stored.instance if about_client else None,
        cause.code if cause else None,
        cause.reason if cause else None,
    )
    return msgspec.json.encode(event)


def time_of(raw: bytes) -> float:
    """When an event happened, in Unix seconds by Redis's clock; infinity for what is no event."""
    try:
        return _stored.decode(raw).time / 1000
    except UNREADABLE:
        return float("inf")


def body_of(events: Iterable[bytes]) -> bytes:
    """The body of a request with events, each of them JSON already."""
    return b'{"events":[' + b",".join(events) + b"]}"


def signature(secrets: Sequence[str], now: int, body: bytes) -> str:
    """The value of the header for a request that is sent `now` (Unix seconds)."""
    signed = b"%d.%s" % (now, body)
    digests = (hmac.digest(secret.encode(), signed, "sha256").hex() for secret in secrets)
    return ",".join((f"t={now}", *(f"v1={digest}" for digest in digests)))
