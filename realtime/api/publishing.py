"""What every way of publishing shares: payloads as JSON bytes, channels checked, the process's broker, and the one
place that every publication of the server's side passes (`prepared`)."""

import base64
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Unpack

import msgspec
from django.utils.functional import Promise

from flotilla.realtime.access.channels import options_for
from flotilla.realtime.api.prepared import Prepared
from flotilla.realtime.conf import ChannelOptions, get_config
from flotilla.realtime.engine.broker import Broker, get_broker
from flotilla.realtime.engine.calls import PublishKeywords
from flotilla.realtime.engine.publication import StreamPosition
from flotilla.realtime.protocol import bodies, foreign, replies
from flotilla.realtime.protocol.codes import CommandError, ErrorCode
from flotilla.realtime.protocol.commands import UINT64
from flotilla.store import get_store

Sent = Callable[[StreamPosition], object]
Watcher = Callable[[str, bytes, PublishKeywords], Sent | None]
watchers: list[Watcher] = []
"""Told of every publication of the server's side, from Python or over HTTP, by its channel, its JSON object without an
offset, and its keywords: when it is asked for and found right, whether or not a commit is still waited for. What a
watcher returns is called with the position once the publication was sent, and forgotten if it never is. A durable one
counts as sent from its commit on, without a position."""


def broker() -> Broker:
    """The process's broker."""
    return get_broker(get_store())


def prepared(
    channel: str, body: bytes, options: ChannelOptions, **keywords: Unpack[PublishKeywords]
) -> Prepared[StreamPosition]:
    """A publication, checked. Raises CommandError 107 for what could not be sent to clients, or to Redis, 108 where the
    channel is a map."""
    require_publishable(body, options, keywords)
    where = broker()
    sync = partial(where.publish_sync, channel, body, options, **keywords)
    call = Prepared(sync, partial(where.publish, channel, body, options, **keywords))
    for sent in watched(channel, body, keywords):
        call = call.then(partial(_tell, sent))
    return call


def require_publishable(body: bytes, options: ChannelOptions, keywords: PublishKeywords) -> None:
    """Raise CommandError 107 for what could not be sent to clients, or to Redis, 108 where the channel is a map."""
    if options.map:
        raise CommandError(ErrorCode.NOT_AVAILABLE, "the channel is a map: set an entry instead (map_set, map_publish)")
    require_readable(body, options)
    if not options.conflate and bodies.key_of(body):
        raise CommandError(ErrorCode.BAD_REQUEST, "a key needs `conflate` in the channel's namespace")
    _require_version(keywords.get("version", 0))
    for text in (keywords.get("idempotency_key", ""), keywords.get("version_epoch", "")):
        _require_text(text)


def watched(channel: str, body: bytes, keywords: PublishKeywords) -> list[Sent]:
    """Tell the watchers of a publication; gives whom to tell its position."""
    found = (watcher(channel, body, keywords) for watcher in watchers)
    return [sent for sent in found if sent is not None]


def _tell(sent: Sent, position: StreamPosition) -> StreamPosition:
    sent(position)
    return position


def encode_data(data: Any) -> bytes:
    """A payload as compact JSON. Takes what JSON has, and dates, UUIDs, decimals, dataclasses, translated strings.

    Raises TypeError for anything else.
    """
    try:
        return foreign.write(data, _encode_other)
    except (NotImplementedError, msgspec.EncodeError) as error:
        raise TypeError(f"this cannot be sent as JSON: {error}") from error


def payload(given: msgspec.Raw, in_base64: str, *, binary: bool = False) -> bytes | None:
    """What a request gives as JSON, on one line, or None when it gives nothing. Raises CommandError 107 for no JSON.

    `binary`: what is in base64 may be any bytes.
    """
    data = bytes(given)
    try:
        if in_base64:
            data = base64.b64decode(in_base64, validate=True)
            if binary:
                return data or None
        data.decode()
        return foreign.one_line(data) if data else None
    except (ValueError, msgspec.DecodeError, RecursionError):  # base64 raises plain ValueError for what is not ASCII
        raise CommandError(ErrorCode.BAD_REQUEST) from None


def _encode_other(value: Any) -> Any:
    if isinstance(value, Promise):
        return str(value)
    raise NotImplementedError(f"objects of type {type(value).__qualname__} are not JSON")


def options_of(channel: str) -> ChannelOptions:
    """The options of a channel. Raises CommandError 102 or 107."""
    return options_for(channel, get_config())


def is_binary(options: ChannelOptions) -> bool:
    """Whether publications of a channel are bytes of any kind."""
    return options.publication_data_format == "binary"


def body_of(data: bytes, tags: Mapping[str, str] | None, key: str = "", *, binary: bool = False) -> bytes:
    """A publication without an author; `data` is JSON, or whatever it is where the channel takes bytes (`binary`).

    Raises CommandError 107 for a key that cannot be used, TypeError for tags that are no texts.
    """
    require_texts(tags)
    bodies.require_key(key)
    return bodies.binary(data, None, tags, key) if binary else replies.publication_body(data, None, tags, key)


def require_texts(tags: Mapping[str, str] | None) -> None:
    """Raise TypeError for tags that are no texts."""
    if tags and not all(isinstance(name, str) and isinstance(tag, str) for name, tag in tags.items()):
        raise TypeError("tags are texts by their names, both of them str")


def require_readable(body: bytes, options: ChannelOptions) -> None:
    """Raise CommandError 107 for a publication that a channel would keep, but no client could be sent."""
    if options.has_history:
        replies.require_sendable(body, get_config().max_publication_bytes(options))


def _require_version(version: int) -> None:
    if not 0 <= version <= UINT64:
        raise CommandError(ErrorCode.BAD_REQUEST, "a version is a number of 64 bits without a sign")


def _require_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise CommandError(ErrorCode.BAD_REQUEST, "a key or an epoch is text that has bytes") from None
