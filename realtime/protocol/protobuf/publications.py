"""Publications and ClientInfos, which the platform keeps as JSON, written in Protobuf.

This is what is written most often: its bytes are put together by hand, for the library's objects take longer.
"""

from base64 import b64decode, b64encode
from functools import lru_cache

import msgspec
from msgspec import Raw, Struct, structs

from flotilla.realtime.protocol import foreign
from flotilla.realtime.protocol.bodies import tags_of
from flotilla.realtime.protocol.maps import is_entry
from flotilla.realtime.protocol.protobuf.wire import text
from flotilla.speedups import protobuf_push
from flotilla.speedups.pure.protobuf import sized, varint

REMEMBERED = 4096  # clients
_LONGEST = 512  # bytes of a ClientInfo that is kept as it was written, for the next publication of the same client

_USER, _CLIENT, _CONN_INFO, _CHAN_INFO = 0x0A, 0x12, 0x1A, 0x22
_DATA, _INFO, _OFFSET, _TAGS, _DELTA = 0x22, 0x2A, b"\x30", 0x3A, b"\x40\x01"
_ENTRY, _REMOVED = 0x5A, b"\x60\x01"
_KEY, _VALUE = 0x0A, 0x12


class _Info(Struct, gc=False):
    """A ClientInfo in JSON."""

    user: str = ""
    client: str = ""
    conn_info: Raw = Raw(b"")
    chan_info: Raw = Raw(b"")


class _Untagged(Struct, gc=False):
    """A publication's body in JSON, but for its tags. `exact` and `b64data` are data in base64
    (`flotilla.realtime.protocol.bodies`); a key is an entry's where the body says so
    (`flotilla.realtime.protocol.maps`)."""

    data: Raw = Raw(b"")
    exact: str = ""
    b64data: str = ""
    info: Raw = Raw(b"")
    offset: int = 0
    delta: bool = False
    key: str = ""
    removed: bool = False


class _Publication(_Untagged, gc=False):
    """All of it."""

    tags: dict[str, str] = {}


_info = msgspec.json.Decoder(_Info).decode
_publication = msgspec.json.Decoder(_Publication).decode


def publication_push(channel: bytes, body: bytes, offset: int = 0) -> bytes:
    """The push of a publication. `channel`: the field with its name; `body`: the publication's JSON object; `offset`:
    where that does not say it."""
    found = _read(body)
    info = bytes(found.info)
    return protobuf_push(
        channel,
        _data(found),
        client_info(info) if info else b"",
        offset or found.offset,
        _last(found, body) if found.tags or found.delta or found.key else b"",
    )


def publication(body: bytes) -> bytes:
    """A Publication; `body`: its JSON object."""
    found = _read(body)
    written = sized(_DATA, _data(found))
    if info := bytes(found.info):
        written += sized(_INFO, client_info(info))
    if found.offset:
        written += _OFFSET + varint(found.offset)
    return written + _last(found, body)


def payload(body: bytes) -> bytes:
    """What a publication says."""
    return _data(_read(body))


def changed(body: bytes, delta: bytes) -> bytes:
    """A publication's body with a delta in place of what it says."""
    found = _read(body)
    told: dict[str, object] = {"b64data": b64encode(delta).decode(), "delta": True}
    if bytes(found.info):
        told["info"] = found.info
    if found.tags:
        told["tags"] = Raw(foreign.write(found.tags))
    return msgspec.json.encode(told)


def _read(body: bytes) -> _Publication:
    try:
        return _publication(body)
    except msgspec.DecodeError:
        pass
    try:
        return foreign.read(body, _Publication)[0]  # half surrogates, which are kept as they are
    except msgspec.ValidationError:  # tags that are no texts
        found = foreign.read(body, _Untagged)[0]
        return _Publication(**structs.asdict(found), tags=dict(tags_of(body)))


def _data(found: _Publication) -> bytes:
    encoded = found.exact or found.b64data
    return b64decode(encoded) if encoded else bytes(found.data)


def _last(found: _Publication, body: bytes) -> bytes:
    """The fields behind a publication's offset."""
    last = _tags(found.tags) + (_DELTA if found.delta else b"")
    if found.key and is_entry(body):
        last += sized(_ENTRY, text(found.key)) + (_REMOVED if found.removed else b"")
    return last


def _tags(tags: dict[str, str]) -> bytes:
    entries = (sized(_KEY, text(name)) + sized(_VALUE, text(value)) for name, value in tags.items())
    return b"".join(sized(_TAGS, entry) for entry in entries)


def client_info(info: bytes) -> bytes:
    """A ClientInfo; `info`: the same in JSON."""
    return _remembered(info) if len(info) <= _LONGEST else _client_info(info)


def _client_info(info: bytes) -> bytes:
    try:
        found = _info(info)
    except msgspec.DecodeError:
        found, _ = foreign.read(info, _Info)
    fields = (
        (_USER, text(found.user)),
        (_CLIENT, text(found.client)),
        (_CONN_INFO, bytes(found.conn_info)),
        (_CHAN_INFO, bytes(found.chan_info)),
    )
    return b"".join(sized(tag, value) for tag, value in fields if value)


_remembered = lru_cache(REMEMBERED)(_client_info)
