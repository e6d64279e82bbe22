"""Who a connect command comes from: its token says it, else the handshake's session cookie, else it is anonymous.

A token that is sent always decides: a bad one is refused, also where a session or insecure mode would be enough.
"""

import logging
from collections.abc import Mapping
from typing import Any

from flotilla.realtime.access import permissions
from flotilla.realtime.access.identity import ANONYMOUS, Identity
from flotilla.realtime.access.sessions import identity_from_session
from flotilla.realtime.access.tokens import verify_connection
from flotilla.realtime.conf import RealtimeConfig
from flotilla.realtime.protocol.codes import CommandError, DisconnectCode, DisconnectError, ErrorCode

logger = logging.getLogger(__name__)


async def authenticate(token: str, scope: Mapping[str, Any], config: RealtimeConfig, now: float) -> Identity:
    """The identity of a connection at Unix time `now`.

    Raises DisconnectError 3500 (bad token) or 3501 (nothing given and anonymous off), CommandError 109 (expired token)
    or 100 (the session store is away).
    """
    if token:
        return verify_connection(token, config, now).identity()
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
