"""The body of a publication: one JSON object without its offset, as history keeps it and the layer carries it.

Nearly always it is what JSON clients are sent: `data`, `info`, `tags`. What has a `key`, by which publications replace
each other for a slow client, has it as the last member, and no client sees it. Two kinds have a member more, which
stands first and which JSON clients never see. `exact`: what a Protobuf client published had newlines, or space around
it, which a line of JSON cannot have; that is the data as it came, in base64, and `data` is the same JSON with spaces
instead. `b64data`: the payload of a channel whose `publication_data_format` is binary; there is no `data`.
"""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from flotilla.realtime.protocol import foreign, replies
from flotilla.realtime.protocol.codes import CommandError, ErrorCode

MAX_KEY = 255  # bytes

_KEY = b',"key":'
_TAGS = b',"tags":'
_NONE: Mapping[str, str] = {}
_SPACES = b" \t\r\n"
_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")
_EXACT = b'{"exact":"'
_BINARY = b'{"b64data":'
_PLAIN = b'{"data":'
_ENTRY = b'{"key":'  # of a map (`maps`)
_raw = msgspec.json.Decoder(msgspec.Raw).decode


class _Tagged(Struct):
    tags: dict[str, str] = {}


_tagged = msgspec.json.Decoder(_Tagged).decode


def as_published(data: bytes, info: bytes | None) -> bytes:
    """What a client published as bytes, where data is JSON. Raises CommandError 107 for what is none."""
    line = one_line(data)
    body = replies.publication_body(line, info)
    return body if line == data else _EXACT + b64encode(data) + b'",' + body[1:]


def one_line(data: bytes) -> bytes:
    """JSON without line breaks, and without space around it. Raises CommandError 107 for what is no JSON."""
    _require_json(data)
    return data.strip(_SPACES).translate(_ONE_LINE)


def binary(data: bytes, info: bytes | None = None, tags: Mapping[str, str] | None = None, key: str = "") -> bytes:
    """A publication where data is bytes of any kind."""
    return replies.with_members(_BINARY + b'"' + b64encode(data) + b'"', info, tags, key)


def visible(body: bytes) -> bytes:
    """A body as JSON clients may see it."""
    if body.startswith(_PLAIN) and not body.endswith(b'"}'):
        return body  # as nearly all are
    return without_key(_on_one_line(body))


def _on_one_line(body: bytes) -> bytes:
    if body.startswith(_PLAIN) or not body.startswith(_EXACT):
        return body
    return b"{" + body[body.index(b'"', len(_EXACT)) + 2 :]


def shown(body: bytes) -> bytes:
    """A body for people to look at: always with `data` where it says something, which is the base64 of bytes that are
    no JSON."""
    if body.startswith(_ENTRY):
        return body.replace(b'","b64data":', b'","data":', 1)  # the first is the member: in a text quotes are escaped
    return _PLAIN + body[len(_BINARY) :] if body.startswith(_BINARY) else _on_one_line(body)


def plain(body: bytes) -> dict[str, Any]:
    """A body as Python has it: `data` as JSON says it, or bytes; `info`, `tags` and `key` where it has them."""
    found: dict[str, Any] = foreign.plain(_on_one_line(body))
    if "b64data" in found:
        found = {"data": b64decode(found.pop("b64data")), **found}
    return found


def _require_json(data: bytes) -> None:
    try:
        data.decode()
        try:
            _raw(data)
        except msgspec.DecodeError:
            foreign.one_line(data)
    except foreign.UNREADABLE:
        raise CommandError(ErrorCode.BAD_REQUEST, "data is no JSON") from None


def tags_of(body: bytes) -> Mapping[str, str]:
    """A publication's tags, those of them that are texts: version 0.2.0 takes others."""
    if _TAGS not in body:
        return _NONE
    try:
        return _tagged(body).tags
    except (msgspec.DecodeError, RecursionError):  # half surrogates, or what few parsers can follow
        found = foreign.plain(body).get("tags")
        return {name: tag for name, tag in found.items() if isinstance(tag, str)} if isinstance(found, dict) else _NONE


def key_of(body: bytes) -> bytes:
    """A publication's key, as JSON; b"" where it has none."""
    begin = _key_at(body)
    return body[begin + len(_KEY) : -1] if begin > 0 else b""


def without_key(body: bytes) -> bytes:
    """A publication as clients may see it."""
    begin = _key_at(body)
    return body[:begin] + b"}" if begin > 0 else body


def _key_at(body: bytes) -> int:
    """Where the key begins, -1 where there is none.

    Before the object's end stands a text only where its last member is one. In a text every quote is escaped, so the
    name that is found last is that member's, or else some other text would have to end there.
    """
    if not body.endswith(b'"}'):
        return -1
    begin = body.rfind(_KEY + b'"')
    return begin if begin > 0 and _is_one_text(body, begin + len(_KEY)) else -1


def _is_one_text(body: bytes, begin: int) -> bool:
    """Whether the text that begins there ends where the object does."""
    end = begin
    while (end := body.find(b'"', end + 1)) >= 0:
        before = end
        while body[before - 1] == 0x5C:  # a backslash
            before -= 1
        if (end - before) % 2 == 0:
            return end == len(body) - 2
    return False


def require_key(key: str) -> None:
    """Raise CommandError 107 for a key that cannot be used."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise CommandError(ErrorCode.BAD_REQUEST, "a key is text that has bytes") from None
    if size > MAX_KEY:
        raise CommandError(ErrorCode.BAD_REQUEST, f"a key has at most {MAX_KEY} bytes")
