"""Commands that reach the project's own code: rpc and send.

Whatever fails there is logged with its name. It does not end the connection, and other clients do not notice.
"""

import logging
from typing import Any

import msgspec
from asgiref.sync import iscoroutinefunction
from channels.db import database_sync_to_async

from flotilla.realtime import rpc as registry
from flotilla.realtime.access.hooks import name_of, user_of
from flotilla.realtime.client.client import Client
from flotilla.realtime.client.command_time import abandonable
from flotilla.realtime.client.commands.requests import data_of
from flotilla.realtime.protocol import foreign
from flotilla.realtime.protocol.codes import CommandError, DisconnectCode, DisconnectError, ErrorCode
from flotilla.realtime.protocol.commands import RpcRequest, SendRequest

logger = logging.getLogger("flotilla.realtime.calls")


async def rpc(client: Client, id: int, request: RpcRequest) -> bytes:
    """Answer `rpc`: 108 when the project has no methods at all, 104 for one it does not have."""
    if not registry.methods:
        raise CommandError(ErrorCode.NOT_AVAILABLE)
    handler = registry.methods.get(request.method)
    if handler is None:
        raise CommandError(ErrorCode.METHOD_NOT_FOUND)
    result = await called(handler, await _user(client), request.data)
    return client.encoding.reply(id, "rpc", {"data": msgspec.Raw(result)})


async def called(handler: registry.Handler, user: Any, data: msgspec.Raw) -> bytes:
    """What a method returns, as JSON; the HTTP API calls methods too. Raises CommandError 100 when it fails."""
    result = await _call(handler, user, data)
    try:
        return foreign.write(result)
    except (TypeError, ValueError, RecursionError):
        logger.exception("%s returned what JSON cannot hold", name_of(handler))
        raise CommandError(ErrorCode.INTERNAL) from None


async def send(client: Client, id: int, request: SendRequest) -> None:
    """Hand a message to the project; without a handler the connection is ended with 3508."""
    if not registry.message_handlers:
        raise DisconnectError(DisconnectCode.NOT_AVAILABLE)
    user = await _user(client)
    for handler in registry.message_handlers:
        try:
            await _call(handler, user, request.data)
        except CommandError as error:  # `send` has no answer to put it in
            logger.info("a message was refused: %s", error, extra=client.log_context())


async def _user(client: Client) -> Any:
    return await user_of(client.identity.user, client.hook_cache) if client.identity.user else None


async def _call(handler: registry.Handler, user: Any, data: msgspec.Raw) -> Any:
    given = data_of(data)
    try:
        if iscoroutinefunction(handler):
            return await abandonable(handler(user, given))
        return await database_sync_to_async(handler)(user, given)
    except (CommandError, DisconnectError):
        raise
    except Exception:
        logger.exception("%s failed", name_of(handler))
        raise CommandError(ErrorCode.INTERNAL) from None
