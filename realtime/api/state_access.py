"""Who may read a channel's state: exactly those who may subscribe to the channel, so that it shows nobody more than the
channel's publications do.

A request says who asks as a handshake and its connect command do: a project's own `authenticate`, then the connection
token (`Authorization: Bearer …`), then the session cookie, else it is a visitor. A subscription token comes in the
header `X-Subscription-Token`, and not in the address, which logs keep.
"""

import time
from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest

from flotilla.ratelimit.http.addresses import counted
from flotilla.realtime.access import hooks, permissions, tokens
from flotilla.realtime.access.authenticate import authenticate
from flotilla.realtime.access.channels import options_for
from flotilla.realtime.access.identity import NO_OVERRIDES
from flotilla.realtime.blocks import blocklist
from flotilla.realtime.blocks.blocklist import ADDRESS, USER
from flotilla.realtime.conf import RealtimeConfig
from flotilla.realtime.node.node import current_node
from flotilla.realtime.protocol.codes import CommandError, ErrorCode
from flotilla.store import get_store

SUBSCRIPTION_TOKEN = "X-Subscription-Token"
_BEARER = "bearer "
_UNRECOVERABLE = (
    "a state needs a stream that can be recovered from: set history_size, history_ttl and force_recovery in the "
    'channel\'s namespace, with force_recovery_mode "stream"'
)


def scope_of(request: HttpRequest) -> Mapping[str, Any]:
    """The request's ASGI scope; under WSGI one that says the same."""
    scope: Mapping[str, Any] | None = getattr(request, "scope", None)
    if scope is not None:
        return scope
    named = {"host": request.META.get("SERVER_NAME", "")} | {
        key.lower(): value for key, value in request.headers.items()
    }
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in named.items()]
    return {
        "type": "http",
        "method": request.method,
        "scheme": request.scheme,
        "path": request.path,
        "query_string": request.META.get("QUERY_STRING", "").encode("latin-1", "replace"),
        "headers": headers,
    }


async def require_subscriber(request: HttpRequest, channel: str, config: RealtimeConfig) -> str:
    """The user who asks, "" for a visitor, who may subscribe to the channel.

    Raises CommandError: 102 and 107 for a channel that cannot be, 103 for who may not, 108 where a subscription could
    not be recovered, 109 for a token that has expired, 100 for what is away now; and DisconnectError for who may not
    even connect.
    """
    options_for(channel, config)
    now = time.time()
    identity = await authenticate(_bearer(request), scope_of(request), config, now)
    claims = None
    if token := request.headers.get(SUBSCRIPTION_TOKEN, ""):
        claims = await tokens.averify_subscription(token, config, now, channel=channel, client="", user=identity.user)
    await _require(identity.user, channel, config, {}, claims)
    return identity.user


async def require_page(user: Any, channel: str, config: RealtimeConfig) -> None:
    """Raise CommandError, as `require_subscriber` does, unless a page of this user of Django may show the channel."""
    memory: dict[Any, Any] = {}
    if known := tokens.user_id(user):
        hooks.remember_user(user, memory)
    await _require(known, channel, config, memory, None)


async def _require(
    user: str, channel: str, config: RealtimeConfig, memory: dict[Any, Any], claims: tokens.SubscriptionClaims | None
) -> None:
    options = options_for(channel, config)
    found = await hooks.user_of(user, memory)
    active = None if isinstance(found, str) else bool(getattr(found, "is_active", True))
    if not permissions.connect(user=user, active=active, anonymous=config.anonymous, insecure=config.insecure):
        raise CommandError(ErrorCode.PERMISSION_DENIED)
    hook = permissions.subscribe(
        channel,
        options,
        user=user,
        has_token=claims is not None,
        personal=config.user_personal_channel,
        insecure=config.insecure,
    )
    await hooks.require(hook, user, channel, None, memory)
    options = (claims.overrides if claims else NO_OVERRIDES).apply(options)
    granted = permissions.grants(options, user=user, recoverable=True, insecure=config.insecure)
    if not granted.recoverable or options.force_recovery_mode != "stream":
        raise CommandError(ErrorCode.NOT_AVAILABLE, _UNRECOVERABLE)


def require_not_blocked(user: str, address: str) -> None:
    """Raise CommandError 103 for who may not connect for now; for threads. A process that serves connections has the
    list at hand, any other asks Redis."""
    node = current_node()
    if node is not None:
        blocked = bool(node.blocks.against(user, address))
    else:
        asked = [prefix + who for prefix, who in ((USER, user), (ADDRESS, counted(address))) if who]
        blocked = bool(asked and blocklist.find(get_store(), asked))
    if blocked:
        raise CommandError(ErrorCode.PERMISSION_DENIED)


def _bearer(request: HttpRequest) -> str:
    said = request.headers.get("Authorization", "")
    return said[len(_BEARER) :].strip() if said[: len(_BEARER)].lower() == _BEARER else ""
