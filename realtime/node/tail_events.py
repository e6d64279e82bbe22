"""What a live tail tells: events, made from commands of clients, from what is written to them, and from publications.

Payloads are masked: an event has their size, and the text only where the tail was begun with payloads. Tokens and the
data of a connect command are never told. Pure, and never raises: what cannot be read is told as such.
"""

from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import msgspec

from flotilla.realtime.engine import envelope
from flotilla.realtime.protocol import foreign
from flotilla.realtime.protocol.commands import Command
from flotilla.realtime.protocol.encodings import JSON, Encoding
from flotilla.realtime.protocol.maps import is_entry

LONGEST = 500  # characters of a payload that are shown
TELLING = ("publish", "rpc", "send")  # commands whose data is told; that of others may be a secret
UNREADABLE = (*foreign.UNREADABLE, ValueError)


class Event(msgspec.Struct, omit_defaults=True, kw_only=True):
    """`at` in Unix seconds; `size` in bytes of the payload, None where there is none; `data` its beginning, where it
    may be seen. `text` says more: a command's name, an error, a reason, the key of an entry of a map."""

    at: float
    kind: str
    text: str = ""
    channel: str = ""
    user: str = ""
    client: str = ""
    instance: str = ""
    offset: int = 0
    size: int | None = None
    data: str | None = None


class _Info(msgspec.Struct):
    user: str = ""
    client: str = ""


class _Publication(msgspec.Struct):
    data: msgspec.Raw = msgspec.Raw(b"")
    b64data: str = ""
    info: _Info | None = None
    offset: int = 0
    key: str = ""
    removed: bool = False


class _Presence(msgspec.Struct):
    info: _Info = msgspec.field(default_factory=_Info)


class _Told(msgspec.Struct):
    code: int = 0
    reason: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")


class _Push(msgspec.Struct):
    channel: str = ""
    pub: _Publication | None = None
    join: _Presence | None = None
    leave: _Presence | None = None
    subscribe: _Told | None = None
    unsubscribe: _Told | None = None
    message: _Told | None = None


class _Line(msgspec.Struct):
    push: _Push | None = None


def of_command(command: Command, at: float) -> Event:
    """A command that a client asks for."""
    method = command.method
    request = getattr(command, method) if command.fits else None
    text = f"rpc {request.method}" if method == "rpc" and request is not None else method
    event = Event(at=at, kind="command", text=text, channel=getattr(request, "channel", ""))
    return _with(event, bytes(request.data)) if method in TELLING and request is not None else event


def of_publication(kind: str, channel: str, message: dict[str, Any], at: float) -> Event:
    """A publication, a join or a leave, as it is announced (`envelope`)."""
    body = bytes(message["d"])
    if kind != envelope.PUBLICATION:
        info = _read(body, _Info)
        return Event(at=at, kind=kind, channel=channel, user=info.user, client=info.client)
    offset = int(message.get("o", 0))
    publication = _read(body, _Publication)
    if not is_entry(body):
        publication.key = ""  # by which it is conflated, and which nobody sees
    return _published(publication, channel, offset, message.get("t", 0) / 1e6 or at)


def of_frame(payload: bytes, at: float, encoding: Encoding = JSON) -> Iterator[Event]:
    """What is pushed to a client in a message; its replies are told by the commands that they answer."""
    for line in encoding.lines(payload):
        push = _read(line, _Line).push
        if push is not None:
            yield from _of_push(push, at)


def _of_push(push: _Push, at: float) -> Iterator[Event]:
    if push.pub is not None:
        yield _published(push.pub, push.channel, push.pub.offset, at)
    for kind, who in (("join", push.join), ("leave", push.leave)):
        if who is not None:
            yield Event(at=at, kind=kind, channel=push.channel, user=who.info.user, client=who.info.client)
    for kind, told in (("subscribed", push.subscribe), ("unsubscribed", push.unsubscribe)):
        if told is not None:
            yield Event(at=at, kind=kind, channel=push.channel, text=f"{told.code} {told.reason}" if told.code else "")
    if push.message is not None:
        yield _with(Event(at=at, kind="message"), bytes(push.message.data))


def _published(publication: _Publication, channel: str, offset: int, at: float) -> Event:
    info = publication.info or _Info()
    event = Event(at=at, kind="publication", channel=channel, user=info.user, client=info.client, offset=offset)
    if publication.key:
        event.text = f"removed {publication.key}" if publication.removed else publication.key
    encoded = publication.b64data
    return _with(event, b64decode(encoded) if encoded else bytes(publication.data))


def _with(event: Event, said: bytes) -> Event:
    event.size = len(said)
    event.data = said[: 4 * LONGEST].decode(errors="replace")[:LONGEST]
    return event


def _read(text: bytes, kind: Any) -> Any:
    try:
        found, _ = foreign.read(text, kind)
        return found
    except UNREADABLE:
        return kind()
