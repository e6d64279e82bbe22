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
from flotilla.realtime.protocol import foreign, replies
from flotilla.realtime.protocol.codes import CommandError, ErrorCode
from flotilla.realtime.protocol.commands import UINT64
from flotilla.store import get_store

Sent = Callable[[StreamPosition], object]
Watcher = Callable[[str, bytes, PublishKeywords], Sent | None]
watchers: list[Watcher] = []
"""Told of every publication of the server's side, from Python or over HTTP, by its channel, its JSON object without an
offset, and its keywords: when it is asked for and found right, whether or not a commit is still waited for. What a
watcher returns is called with the position once the publication was sent, and forgotten if it never is."""


def broker() -> Broker:
    """The process's broker."""
    return get_broker(get_store())


def prepared(
    channel: str, body: bytes, options: ChannelOptions, **keywords: Unpack[PublishKeywords]
) -> Prepared[StreamPosition]:
    """A publication, checked. Raises CommandError 107 for what could not be sent to clients, or to Redis."""
    require_readable(body, options)
    _require_version(keywords.get("version", 0))
    for text in (keywords.get("idempotency_key", ""), keywords.get("version_epoch", "")):
        _require_text(text)
    where = broker()
    sync = partial(where.publish_sync, channel, body, options, **keywords)
    call = Prepared(sync, partial(where.publish, channel, body, options, **keywords))
    for watcher in watchers:
        if (sent := watcher(channel, body, keywords)) is not None:
            call = call.then(partial(_tell, sent))
    return call


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


def payload(given: msgspec.Raw, in_base64: str) -> bytes | None:
    """What a request gives as JSON, on one line, or None when it gives nothing. Raises CommandError 107 for no JSON."""
    data = bytes(given)
    try:
        if in_base64:
            data = base64.b64decode(in_base64, validate=True)
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


def body_of(data: bytes, tags: Mapping[str, str] | None) -> bytes:
    """A publication without an author; `data` is JSON."""
    return replies.publication_body(data, None, tags)


def require_readable(body: bytes, options: ChannelOptions) -> None:
    """Raise CommandError 107 for a publication that a channel would keep, but no client could be sent."""
    if options.has_history:
        replies.require_sendable(body, get_config().max_outgoing_bytes)


def _require_version(version: int) -> None:
    if not 0 <= version <= UINT64:
        raise CommandError(ErrorCode.BAD_REQUEST, "a version is a number of 64 bits without a sign")


def _require_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise CommandError(ErrorCode.BAD_REQUEST, "a key or an epoch is text that has bytes") from None
