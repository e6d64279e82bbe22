"""Replies and pushes of the protocol as server-sent events for somebody who only listens.

Every event's id says the positions of all channels, so the last one that a browser has seen is all that it needs to be
given what it missed (`Last-Event-ID`). Pure: what the protocol says goes in, events come out.
"""

import re
import secrets
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote

import msgspec
from msgspec import Raw

from flotilla.realtime.protocol import foreign
from flotilla.realtime.protocol.codes import ErrorCode
from flotilla.realtime.protocol.streams import event

MAX_ID = 8 * 1024  # bytes of an event's id: it comes back as a header
CONTROL = "flotilla:"  # before the names of events that are no channel's, where events are named
FINAL = 24 * 3600 * 1000  # milliseconds until a browser comes back that should not
DEEP = 12  # levels of lists and objects: more than the protocol has around a payload
_EMPTY = Raw(b"")
_STRUCTURE = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[{\]}]', re.DOTALL)


class Position(NamedTuple):
    """Of one channel, as in the protocol."""

    offset: int
    epoch: str


class Problem(NamedTuple):
    """Why a client is not served: a status, a line, and whether it may simply come again."""

    status: int
    why: str
    again: bool = False


class _Code(msgspec.Struct):
    code: int = 0
    message: str = ""
    reason: str = ""
    temporary: bool = False


class _Subscribed(msgspec.Struct, omit_defaults=True):
    recoverable: bool = False
    positioned: bool = False
    epoch: str = ""
    offset: int = 0
    was_recovering: bool = False
    recovered: bool = False
    publications: list[Raw] = []


class _Connected(msgspec.Struct):
    client: str = ""
    version: str = ""
    data: Raw = _EMPTY
    subs: dict[str, _Subscribed] = {}


class _Push(msgspec.Struct):
    channel: str = ""
    pub: Raw = _EMPTY
    subscribe: _Subscribed | None = None
    unsubscribe: _Code | None = None
    disconnect: _Code | None = None
    join: Raw = _EMPTY
    leave: Raw = _EMPTY
    message: Raw = _EMPTY


class _Reply(msgspec.Struct):
    id: int = 0
    error: _Code | None = None
    connect: _Connected | None = None
    subscribe: _Subscribed | None = None
    push: Raw = _EMPTY


class _Publication(msgspec.Struct):
    data: Raw = _EMPTY
    offset: int = 0


class Said(NamedTuple):
    """A reply or push, read. `text` is the push as it came."""

    reply: _Reply
    push: _Push | None = None
    text: str = ""
    publication: _Publication | None = None

    @property
    def is_ping(self) -> bool:
        return not self.reply.id and self.push is None


def read(payload: bytes) -> list[Said]:
    """The replies and pushes in a payload of JSON lines."""
    return [_read(line) for line in payload.split(b"\n") if line]


def _read(line: bytes) -> Said:
    reply = _as(line, _Reply)
    if not bytes(reply.push):
        return Said(reply)
    push = _as(bytes(reply.push), _Push)
    publication = _as(bytes(push.pub), _Publication) if bytes(push.pub) else None
    return Said(reply, push, bytes(reply.push).decode(), publication)


def _as(text: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, RecursionError):  # what somebody has published is all that can be wrong with it
        pass
    try:
        return foreign.read(text, kind)[0]  # half a surrogate pair
    except RecursionError:
        return _deep(text, kind)


def _deep(text: bytes, kind: Any) -> Any:
    """What is nested deeper than Python can follow: payloads are kept as they are, and so they are passed on."""
    mark, parts = secrets.token_hex(8).encode(), list[bytes]()

    def put_back(value: Any) -> Any:
        if isinstance(value, Raw):
            found = re.sub(b'"%s:([0-9]+)"' % mark, lambda match: parts[int(match[1])], bytes(value))
            return Raw(found)
        if isinstance(value, msgspec.Struct):
            for name in value.__struct_fields__:
                setattr(value, name, put_back(getattr(value, name)))
        elif isinstance(value, list):
            return [put_back(one) for one in value]
        elif isinstance(value, dict):
            return {name: put_back(one) for name, one in value.items()}
        return value

    return put_back(foreign.read(_without_depths(text, mark, parts), kind)[0])


def _without_depths(text: bytes, mark: bytes, parts: list[bytes]) -> bytes:
    """A text with a mark for each list and object of its level DEEP; those are put into `parts`."""
    found: list[bytes] = []
    level = kept = 0
    for match in _STRUCTURE.finditer(text):
        what = match[0]
        if what in (b"{", b"["):
            level += 1
            if level == DEEP:
                found += text[kept : match.start()], b'"%s:%d"' % (mark, len(parts))
                kept = match.start()
        elif what in (b"}", b"]"):
            if level == DEEP:
                parts.append(text[kept : match.end()])
                kept = match.end()
            level -= 1
    return b"".join((*found, text[kept:]))


def positions_in(id: str) -> dict[str, Position]:
    """The positions that an event's id says. Raises ValueError for one that is not ours."""
    found = {}
    for channel, said in parse_qsl(id, keep_blank_values=True, strict_parsing=True, max_num_fields=1000) if id else ():
        offset, dot, epoch = said.partition(".")
        if not dot or not (offset.isascii() and offset.isdigit() and len(offset) < 20):
            raise ValueError(f"not a position: {said[:40]}")
        found[channel] = Position(int(offset), epoch)
    return found


@dataclass
class Listener:
    """What is known of one listener: `channels` are asked for with the commands 2, 3, …; `named`: events are named
    after channels and hold the publications' own data, else each holds a push of the protocol."""

    channels: list[str]
    named: bool = False
    positions: dict[str, Position] = field(default_factory=dict)
    _connected: _Connected | None = None
    _missing: set[int] = field(default_factory=set)
    _early: list[Said] = field(default_factory=list)  # pushes that came before all was answered

    def __post_init__(self) -> None:
        self._missing = set(range(1, len(self.channels) + 2))

    @property
    def is_begun(self) -> bool:
        """Whether all that was asked for at the start was answered."""
        return not self._missing

    @property
    def early(self) -> int:
        """How many pushes wait for the start."""
        return len(self._early)

    @property
    def early_bytes(self) -> int:
        """How long they are together."""
        return sum(len(said.text) for said in self._early)

    @property
    def id(self) -> str:
        """The positions of all channels."""
        return "&".join(f"{quote(name, safe='')}={at.offset}.{quote(at.epoch)}" for name, at in self.positions.items())

    def problem(self, said: Said) -> Problem | None:
        """Why this ends the matter before it has begun, if it does."""
        if said.reply.error is not None and said.reply.error.code != ErrorCode.ALREADY_SUBSCRIBED:
            return _of_error(said.reply.error, self._about(said.reply.id))
        if said.push is not None and said.push.disconnect is not None:
            return _of_disconnect(said.push.disconnect)
        return None

    def _about(self, id: int) -> str:
        return f"{self.channels[id - 2]}: " if 2 <= id < len(self.channels) + 2 else ""

    def events(self, said: Said) -> list[bytes]:
        """What is told of it, in order."""
        if said.reply.id:
            return self._answered(said.reply)
        if said.push is None:
            return [b":\n\n"]
        if self._missing:
            self._early.append(said)
            return []
        return self._pushed(said.push, said.text, said.publication)

    def _answered(self, reply: _Reply) -> list[bytes]:
        self._missing.discard(reply.id)
        if reply.connect is not None:
            self._connected = reply.connect
        elif reply.subscribe is not None and self._connected is not None:
            self._connected.subs[self.channels[reply.id - 2]] = reply.subscribe
        if self._missing or self._connected is None:
            return []
        connected, self._connected = self._connected, None
        return self._begin(connected)

    def _begin(self, connected: _Connected) -> list[bytes]:
        told = {"client": connected.client, "version": connected.version}
        if bytes(connected.data):
            told["data"] = connected.data  # type: ignore[assignment]
        missed = []
        for channel, sub in connected.subs.items():
            self._at(channel, sub)
            publications, sub.publications = sub.publications, []
            missed += [(channel, one) for one in publications]
        connected_push = msgspec.json.encode({"connect": {**told, "subs": connected.subs}}).decode()
        found = [self._event("connect", connected_push)]
        for channel, body in missed:
            push = f'{{"channel":{msgspec.json.encode(channel).decode()},"pub":{bytes(body).decode()}}}'
            found += self._published(channel, push, _as(bytes(body), _Publication))
        early, self._early = self._early, []
        for said in early:
            found += self.events(said)
        return found

    def _at(self, channel: str, sub: _Subscribed) -> None:
        if sub.recoverable:
            self.positions[channel] = Position(sub.offset, sub.epoch)

    def _pushed(self, push: _Push, text: str, publication: _Publication | None) -> list[bytes]:
        if publication is not None:
            return self._published(push.channel, text, publication)
        if push.subscribe is not None:
            self._at(push.channel, push.subscribe)
            return [self._event("subscribe", text)]
        if push.unsubscribe is not None:
            if push.unsubscribe.code < 2500:
                self.positions.pop(push.channel, None)
            return [self._event("unsubscribe", text)]
        if push.disconnect is not None:
            final = [] if _comes_back(push.disconnect.code) else [b"retry: %d\n" % FINAL]
            return [*final, self._event("disconnect", text)]
        name = "join" if bytes(push.join) else "leave" if bytes(push.leave) else "message"
        return [self._event(name, text)]

    def _published(self, channel: str, push: str, publication: _Publication) -> list[bytes]:
        known = self.positions.get(channel)
        if known is not None and publication.offset:
            self.positions[channel] = Position(publication.offset, known.epoch)
        if not self.named:
            return [event(push, id=self.id)]
        return [event(_as_text(publication.data), channel, self.id)]

    def _event(self, kind: str, push: str) -> bytes:
        return event(push, f"{CONTROL}{kind}" if self.named else "", self.id)


def must_begin_again(said: Said) -> bool:
    """Whether a subscription is over that its client should ask for again: one that only listens connects anew."""
    return said.push is not None and said.push.unsubscribe is not None and said.push.unsubscribe.code >= 2500


def _as_text(data: Raw) -> str:
    """A publication's data as an event's: a JSON text as what it says, all else as it is written."""
    raw = bytes(data)
    if raw[:1] == b'"':
        try:
            return str(msgspec.json.decode(raw))
        except (msgspec.DecodeError, UnicodeError):
            pass  # half a surrogate pair: no text that can be sent
    return raw.decode()


_STATUSES = {
    ErrorCode.UNAUTHORIZED: 401,
    ErrorCode.TOKEN_EXPIRED: 401,
    ErrorCode.PERMISSION_DENIED: 403,
    ErrorCode.UNKNOWN_CHANNEL: 404,
    ErrorCode.TOO_MANY_REQUESTS: 429,
}


def _of_error(error: _Code, about: str) -> Problem:
    statuses = {int(code): status for code, status in _STATUSES.items()}
    return Problem(statuses.get(error.code, 400), f"{about}{error.message} ({error.code})", error.temporary)


def _of_disconnect(said: _Code) -> Problem:
    statuses = {3500: 401, 3501: 400, 3502: 408}
    return Problem(statuses.get(said.code, 403), f"{said.reason} ({said.code})", _comes_back(said.code))


def _comes_back(code: int) -> bool:
    """Whether a client that was told this connects again."""
    return code < 3500 or 4000 <= code < 4500 or code >= 5000
