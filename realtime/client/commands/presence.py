"""The commands that ask who is in a channel: presence and presence_stats."""

import msgspec

from flotilla.presence.entries import TooMany
from flotilla.presence.scopes import Scope
from flotilla.realtime.access import permissions
from flotilla.realtime.client.client import Client
from flotilla.realtime.client.commands.requests import options_of
from flotilla.realtime.protocol.codes import CommandError, ErrorCode
from flotilla.realtime.protocol.commands import ChannelRequest

LEAST_INFO = 40  # bytes: no ClientInfo is shorter


async def presence(client: Client, id: int, request: ChannelRequest) -> bytes:
    """Answer `presence`; refused with 106 where the answer would be larger than a client may leave unread."""
    _require_presence(client, request.channel)
    most = client.node.config.recovery_max_bytes
    try:
        members = await client.node.presence.members(Scope.channel(request.channel), most // LEAST_INFO)
    except TooMany as error:
        raise CommandError(ErrorCode.LIMIT_EXCEEDED) from error
    if sum(map(len, members.values())) > most:
        raise CommandError(ErrorCode.LIMIT_EXCEEDED)
    found = {client: msgspec.Raw(info) for client, info in members.items()}
    return client.encoding.reply(id, "presence", {"presence": found})


async def presence_stats(client: Client, id: int, request: ChannelRequest) -> bytes:
    """Answer `presence_stats`."""
    _require_presence(client, request.channel)
    clients, users = await client.node.presence.stats(Scope.channel(request.channel))
    return client.encoding.reply(id, "presence_stats", {"num_clients": clients, "num_users": users})


def _require_presence(client: Client, channel: str) -> None:
    """Raise CommandError when this client may not see who is in the channel."""
    permissions.presence(
        options_of(client, channel),
        user=client.identity.user,
        subscribed=channel in client.subscriptions,
        insecure=client.node.config.insecure,
    )
