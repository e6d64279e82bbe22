"""What a refreshed token changes: subscriptions that it does not list any more end, new ones begin, info is replaced.

Only a subscription that a token's list gave (`by_token`) is ended by another list, never one of a command, or the
personal channel. The token is compared with what the connection has now, so a client that was told to try again gets
what is still missing.
"""

import asyncio
from collections.abc import Mapping

from flotilla.presence.scopes import Scope
from flotilla.realtime.access.identity import Identity
from flotilla.realtime.client.client import Client
from flotilla.realtime.client.commands.connect import server_side
from flotilla.realtime.client.subscriptions import Wanted, add_server_side
from flotilla.realtime.engine.subscription import Subscription
from flotilla.realtime.protocol.codes import CommandError, DisconnectCode, DisconnectError, ErrorCode, UnsubscribeCode


async def apply_token(client: Client, identity: Identity) -> None:
    """Make a connection what a newer token of its user says.

    Raises what the connect command would for such a token, and DisconnectError 3010 where the client has to connect
    again: overrides changed, or it would be in too many channels.
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
        await _change_all(client, identity, wishes)
        await asyncio.gather(*(_begin(client, wanted) for wanted in wishes.values()))
    except BaseException:  # so that the next attempt finds what others were not told
        client.identity, infos = before
        for subscription, info in infos.items():
            subscription.chan_info = info
        raise


async def change_info(client: Client, subscription: Subscription, info: bytes | None) -> None:
    """Replace a subscription's info. If others cannot be told, the old one stays."""
    before, subscription.chan_info = subscription.chan_info, info
    try:
        if info != before:
            await _announce(client, subscription)
    except BaseException:
        subscription.chan_info = before
        raise


async def _change_all(client: Client, identity: Identity, wishes: Mapping[str, Wanted]) -> None:
    changed = set(client.subscriptions.values()) if identity.info != client.identity.info else set()
    client.identity = identity
    for wanted in wishes.values():
        known = client.subscriptions.get(wanted.channel)
        if known is not None and known.server_side and known.by_token and known.chan_info != wanted.info:
            known.chan_info = wanted.info
            changed.add(known)
    await asyncio.gather(*(_announce(client, subscription) for subscription in changed))


async def _announce(client: Client, subscription: Subscription) -> None:
    """Where the connection is present, let others see its info as it is now."""
    channel = subscription.channel
    if subscription.present and client.subscriptions.get(channel) is subscription:
        await client.node.enter(Scope.channel(channel), client, client.client_info(subscription.chan_info))


async def _begin(client: Client, wanted: Wanted) -> None:
    try:
        await add_server_side(
            client, wanted.channel, wanted.options, info=wanted.info, data=wanted.data, by_token=wanted.by_token
        )
    except CommandError as error:
        if error.code != ErrorCode.LIMIT_EXCEEDED:
            raise
        detail = f"no room for {wanted.channel!r}, which the refreshed token lists"
        raise DisconnectError(DisconnectCode.INSUFFICIENT_STATE, detail=detail) from None
