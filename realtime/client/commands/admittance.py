"""Whether a client may subscribe: its token is verified, and the channel's rules or the project's hook are asked."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from flotilla.realtime.access import hooks, permissions, tokens
from flotilla.realtime.access.tokens import SubscriptionClaims
from flotilla.realtime.client.client import Client
from flotilla.realtime.client.commands.requests import data_of
from flotilla.realtime.client.subscriptions import check_room
from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.protocol.commands import SubscribeRequest

Answer = TypeVar("Answer")


class Admitted(NamedTuple):
    """What allowed it: `claims` of a token; `asked`: what the client sent along, where a hook was asked."""

    claims: SubscriptionClaims | None = None
    asked: bytes | None = None


async def admit(client: Client, request: SubscribeRequest, options: ChannelOptions) -> Admitted:
    """Raise CommandError unless the client may subscribe to the channel that it asks for."""
    config, user, channel = client.node.config, client.identity.user, request.channel
    claims = None
    if request.token:
        claims = await tokens.averify_subscription(
            request.token, config, client.node.wall(), channel=channel, client=client.id, user=user
        )
    hook = permissions.subscribe(
        channel,
        options,
        user=user,
        has_token=claims is not None,
        personal=config.user_personal_channel,
        insecure=config.insecure,
    )
    await hooks.require(hook, user, channel, data_of(request.data), client.hook_cache)
    check_room(client, channel)  # the server may have subscribed it meanwhile
    return Admitted(claims, bytes(request.data) if hook is not None and request.data else None)


async def as_access_is_now(client: Client, ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """What `ask` answers, asked anew while access changes meanwhile: a hook's answer may be older than the change."""
    while True:
        cache = client.hook_cache
        answer = await ask()
        if client.hook_cache is cache:
            return answer
