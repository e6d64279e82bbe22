"""A connection follows its refreshed token: what the token no longer gives ends, what is new begins.

Only subscriptions that a token's list gave are ended by another list (`by_token`); those of commands, and the personal
channel, are not the token's to take. Everything is compared with what the connection has now, so that a client that
was told to try again gets the rest.
"""

import asyncio
from collections.abc import Mapping

from flotilla.presence.scopes import Scope
from flotilla.realtime.access.identity import Identity
from flotilla.realtime.client.client import Client
from flotilla.realtime.client.commands.connect import server_side
from flotilla.realtime.client.subscriptions import Wanted, give
from flotilla.realtime.engine.subscription import Subscription
from flotilla.realtime.protocol.codes import CommandError, DisconnectCode, DisconnectError, ErrorCode, UnsubscribeCode


async def follow(client: Client, identity: Identity) -> None:
    """Make a connection what a newer token of its user says.

    Raises what the connect command would for such a token, and DisconnectError 3010 where the client has to connect
    anew: overrides changed, or there is no room for one more channel.
    """
    wishes = {wanted.channel: wanted for wanted in server_side(client, identity, {})}
    overrides = {sub.channel: sub.overrides for sub in client.identity.channels}
    for sub in identity.channels:
        if sub.channel in client.subscriptions and overrides.get(sub.channel, sub.overrides) != sub.overrides:
            raise DisconnectError(DisconnectCode.INSUFFICIENT_STATE, detail=f"other overrides for {sub.channel!r}")
    for subscription in list(client.subscriptions.values()):
        if subscription.server_side and subscription.by_token and subscription.channel not in wishes:
            code = UnsubscribeCode.SERVER
            await client.end_channel(subscription.channel, code, code.reason)
    before = client.identity, {one: one.chan_info for one in client.subscriptions.values()}
    try:
        await _show_all(client, identity, wishes)
        await asyncio.gather(*(_begin(client, wanted) for wanted in wishes.values()))
    except BaseException:  # the next attempt must find what was not shown
        client.identity, infos = before
        for subscription, info in infos.items():
            subscription.chan_info = info
        raise


async def show_as(client: Client, subscription: Subscription, info: bytes | None) -> None:
    """A subscription's info is another one; when others cannot be shown it, the old one stays."""
    before, subscription.chan_info = subscription.chan_info, info
    try:
        if info != before:
            await _show(client, subscription)
    except BaseException:
        subscription.chan_info = before
        raise


async def _show_all(client: Client, identity: Identity, wishes: Mapping[str, Wanted]) -> None:
    changed = set(client.subscriptions.values()) if identity.info != client.identity.info else set()
    client.identity = identity
    for wanted in wishes.values():
        known = client.subscriptions.get(wanted.channel)
        if known is not None and known.server_side and known.by_token and known.chan_info != wanted.info:
            known.chan_info = wanted.info
            changed.add(known)
    await asyncio.gather(*(_show(client, subscription) for subscription in changed))


async def _show(client: Client, subscription: Subscription) -> None:
    """Have others see what is known of the connection now, where it is present."""
    channel = subscription.channel
    if subscription.present and client.subscriptions.get(channel) is subscription:
        await client.node.enter(Scope.channel(channel), client, client.client_info(subscription.chan_info))


async def _begin(client: Client, wanted: Wanted) -> None:
    try:
        await give(client, wanted.channel, wanted.options, info=wanted.info, data=wanted.data, by_token=wanted.by_token)
    except CommandError as error:
        if error.code != ErrorCode.LIMIT_EXCEEDED:
            raise
        detail = f"no room for {wanted.channel!r}, which the refreshed token gives"
        raise DisconnectError(DisconnectCode.INSUFFICIENT_STATE, detail=detail) from None
