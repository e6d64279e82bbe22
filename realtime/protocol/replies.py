"""What the server sends: replies, pushes and pings as compact JSON bytes, one object each, never a raw newline.

Zero values are left out by those who build a result (`compact`); payloads travel as the bytes they came in.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from flotilla.realtime.protocol import foreign
from flotilla.realtime.protocol.codes import CommandError, ErrorCode
from flotilla.realtime.protocol.nesting import unreadable

PING = b"{}"
ROOM_AROUND = 1024  # bytes of a reply or push around a publication: its channel's name, position, and envelope
MAX_TTL = 365 * 24 * 3600  # seconds

encode = msgspec.json.encode


def compact(**fields: Any) -> dict[str, Any]:
    """The fields that say something: without None, False, 0, "" and empty containers."""
    return {key: value for key, value in fields.items() if value or isinstance(value, msgspec.Raw)}


def reply(id: int, method: str, result: Mapping[str, Any] | bytes = b"{}") -> bytes:
    """A success: `result` is a mapping or an encoded object."""
    body = result if isinstance(result, bytes) else encode(result)
    return b'{"id":%d,"%s":%s}' % (id, method.encode(), body)


def error(id: int, problem: CommandError) -> bytes:
    """An error reply."""
    fields: dict[str, Any] = {"code": problem.code, "message": problem.message}
    if problem.temporary:
        fields["temporary"] = True
    return b'{"id":%d,"error":%s}' % (id, encode(fields))


def expiry(expire_at: float | None, now: float) -> dict[str, Any]:
    """The fields that tell a client when to refresh (Unix seconds, None or 0 for never).

    `ttl` is an unsigned number of 32 bits in the protocol: beyond MAX_TTL the client is asked to refresh early.
    """
    return {"expires": True, "ttl": int(min(max(1.0, expire_at - now), MAX_TTL))} if expire_at else {}


def push(channel: bytes, kind: bytes, body: bytes) -> bytes:
    """A push of `kind` (pub, join, leave, …); `channel` is the name as a JSON string."""
    return b'{"push":{"channel":%s,"%s":%s}}' % (channel, kind, body)


def message_push(data: bytes) -> bytes:
    """A message to one connection, of no channel; `data` is JSON."""
    return b'{"push":{"message":{"data":%s}}}' % data


def disconnect_push(code: int, reason: str) -> bytes:
    """Goes out before every close: a close frame alone loses its reason under some servers."""
    return b'{"push":{"disconnect":%s}}' % encode({"code": code, "reason": reason})


def client_info(user: str, client: str, conn_info: bytes | None, chan_info: bytes | None) -> bytes:
    """A ClientInfo: who published, joined or is present."""
    fields: dict[str, Any] = {"user": user, "client": client}
    if conn_info:
        fields["conn_info"] = msgspec.Raw(conn_info)
    if chan_info:
        fields["chan_info"] = msgspec.Raw(chan_info)
    return encode(fields)


def publication_body(
    data: bytes, info: bytes | None = None, tags: Mapping[str, str] | None = None, key: str = ""
) -> bytes:
    """A publication before its offset is known: what history keeps and the layer carries. The `key` is its last member
    (`flotilla.realtime.protocol.bodies`).

    Raises CommandError 107 for data that some clients' parsers cannot follow.
    """
    if unreadable(data):
        raise CommandError(ErrorCode.BAD_REQUEST)
    return with_members(b'{"data":' + data, info, tags, key)


def with_members(body: bytes, info: bytes | None, tags: Mapping[str, str] | None, key: str) -> bytes:
    """A publication's object, begun with what it says, to its end."""
    if info:
        body += b',"info":' + info
    if tags:
        body += b',"tags":' + foreign.write(tags)
    if key:
        body += b',"key":' + encode(key)
    return body + b"}"


def require_sendable(body: bytes, most: int) -> None:
    """Raise CommandError 107 for a publication that does not fit, with what goes around it, into the `most` bytes a
    client may leave unread: whoever asked for it would be dropped, again and again."""
    if len(body) > most - ROOM_AROUND:
        message = f"a publication of {len(body)} bytes is too large: clients can be sent {max(0, most - ROOM_AROUND)}"
        raise CommandError(ErrorCode.BAD_REQUEST, message)


def with_offset(body: bytes, offset: int) -> bytes:
    """A publication as clients get it; offset 0 means the channel has no history."""
    return body[:-1] + b',"offset":%d}' % offset if offset else body
