"""What every way of publishing shares: payloads as JSON bytes, channels checked, the process's broker."""

import base64
from collections.abc import Mapping
from typing import Any

import msgspec
from django.utils.functional import Promise

from flotilla.realtime.access.channels import options_for
from flotilla.realtime.conf import ChannelOptions, get_config
from flotilla.realtime.engine.broker import Broker, get_broker
from flotilla.realtime.protocol import foreign, replies
from flotilla.realtime.protocol.codes import CommandError, ErrorCode
from flotilla.realtime.protocol.commands import UINT64
from flotilla.store import get_store


def broker() -> Broker:
    """The process's broker."""
    return get_broker(get_store())


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


def known_version(version: int) -> int:
    """A version of a publication. Raises CommandError 107 for one beyond 64 bits."""
    if not 0 <= version <= UINT64:
        raise CommandError(ErrorCode.BAD_REQUEST, "a version is a number of 64 bits without a sign")
    return version
