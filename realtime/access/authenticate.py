"""Who a connect command comes from: a project's own hook says it, else its token, else the handshake's session cookie,
else it is anonymous.

A token that is sent and that no hook took always decides: a bad one is refused, also where a session or insecure mode
would be enough.
"""

import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from flotilla.realtime.access import permissions
from flotilla.realtime.access.authentication_hook import identity_from_hook
from flotilla.realtime.access.handshake_request import request_of
from flotilla.realtime.access.identity import ANONYMOUS, Identity
from flotilla.realtime.access.sessions import identity_from_session
from flotilla.realtime.access.tokens import averify_connection
from flotilla.realtime.conf import RealtimeConfig
from flotilla.realtime.protocol.codes import CommandError, DisconnectCode, DisconnectError, ErrorCode
from flotilla.realtime.protocol.commands import NO_DATA, decoded

logger = logging.getLogger(__name__)


async def authenticate(
    token: str,
    scope: Mapping[str, Any],
    config: RealtimeConfig,
    now: float,
    *,
    data: msgspec.Raw = NO_DATA,
    headers: Mapping[str, str] | None = None,
) -> Identity:
    """The identity of a connection at Unix time `now`; `token`, `data` and `headers` are the connect command's.

    Raises DisconnectError 3500 (bad token) or 3501 (nothing given and anonymous off), CommandError 109 (expired token)
    or 100 (the session store, the hook or the token's issuer is away), and what the hook raises of these two.
    """
    if config.authenticate is not None:
        sent = decoded(data) if data else None
        request = request_of(scope, config, token=token, data=sent, headers=headers)
        identity = await identity_from_hook(config.authenticate, request, config.authenticate_again, now)
        if identity is not None:
            return identity
    if token:
        return (await averify_connection(token, config, now)).identity()
    try:
        identity = await identity_from_session(scope)
    except Exception:
        logger.exception("the session of a connecting client could not be read")
        raise CommandError(ErrorCode.INTERNAL) from None
    if identity is not None:
        return identity
    if permissions.connect(user="", anonymous=config.anonymous, insecure=config.insecure):
        return ANONYMOUS
    raise DisconnectError(DisconnectCode.BAD_REQUEST, detail="neither token nor session, and anonymous is off")
