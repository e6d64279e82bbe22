"""The HTTP API's methods that reach connections, and the project's own methods.

Their results say how many were hit, and how many instances answered: clients that expect none of it pass it over.
A `session` names a connection of transports that are not served here, so a request with one is about nobody.
"""

import time
from collections.abc import Callable
from typing import Any

import msgspec

from flotilla.realtime import rpc as registry
from flotilla.realtime.api import params
from flotilla.realtime.api.control import (
    OVERRIDES,
    disconnect_command,
    reauthorize_command,
    refresh_command,
    subscribe_command,
    unsubscribe_command,
)
from flotilla.realtime.api.prepared import order
from flotilla.realtime.api.publishing import payload
from flotilla.realtime.client.commands.rpc import called
from flotilla.realtime.engine.publication import StreamPosition
from flotilla.realtime.node.control import ASK_WITHIN, Acknowledged, Command
from flotilla.realtime.protocol.codes import CommandError, ErrorCode, UnsubscribeCode


async def disconnect(asked: params.Disconnect) -> dict[str, Any]:
    """End connections of a user, one, or those in a channel."""
    wish = asked.disconnect or params.Disconnection()
    command = _checked(
        lambda: disconnect_command(asked.user, asked.client, asked.channel, wish.code, wish.reason, asked.whitelist)
    )
    return await _done(command, asked.session)


async def unsubscribe(asked: params.Unsubscribe) -> dict[str, Any]:
    """End subscriptions to a channel."""
    command = _checked(lambda: unsubscribe_command(asked.user, asked.channel, asked.client, UnsubscribeCode.SERVER, ""))
    return await _done(command, asked.session)


async def subscribe(asked: params.Subscribe) -> dict[str, Any]:
    """Put a user's open connections into a channel."""
    info, data = _info(asked.info, asked.b64info), payload(asked.data, asked.b64data)
    since = StreamPosition(asked.recover_since.epoch, asked.recover_since.offset) if asked.recover_since else None
    flags = {name: getattr(asked.override, name, None) for name in OVERRIDES}
    overrides = {name: flag.value for name, flag in flags.items() if flag is not None}
    command = _checked(
        lambda: subscribe_command(
            asked.user,
            asked.channel,
            asked.client,
            _raw(info),
            _raw(data),
            asked.expire_at if asked.expire_at > 0 else None,
            since,
            overrides,
        )
    )
    return await _done(command, asked.session)


async def refresh(asked: params.Refresh) -> dict[str, Any]:
    """Set when open connections end."""
    info = _info(asked.info, "")
    expired = asked.expired or 0 < asked.expire_at <= time.time()
    expire_at = asked.expire_at if asked.expire_at > 0 else None
    command = _checked(lambda: refresh_command(asked.user, asked.client, expire_at, expired, _raw(info)))
    return await _done(command, asked.session)


async def reauthorize(asked: params.Reauthorize) -> dict[str, Any]:
    """Check access again."""
    return await _done(reauthorize_command(asked.user, asked.channel, asked.client))


async def rpc(asked: params.Rpc) -> dict[str, Any]:
    """Call a method of the project, as nobody: it gets None for the user."""
    handler = registry.methods.get(asked.method)
    if handler is None:
        raise CommandError(ErrorCode.METHOD_NOT_FOUND)
    return {"data": msgspec.Raw(await called(handler, None, asked.params))}


def _checked(make: Callable[[], Command]) -> Command:
    try:
        return make()
    except ValueError:
        raise CommandError(ErrorCode.BAD_REQUEST) from None


async def _done(command: Command, session: str = "") -> dict[str, Any]:
    done = Acknowledged(0, 0, 0) if session else await order(command, ASK_WITHIN).arun()
    return done._asdict()


def _info(given: msgspec.Raw, in_base64: str) -> bytes | None:
    """What others shall see: no payload, so that a null is none."""
    info = payload(given, in_base64)
    return None if info == b"null" else info


def _raw(data: bytes | None) -> msgspec.Raw | None:
    return None if data is None else msgspec.Raw(data)
