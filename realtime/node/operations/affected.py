"""Whom a trouble hurts here: slow clients, channels that are not live, errors, or all whose channels are on a Redis."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from flotilla.realtime.client.client import Client
from flotilla.realtime.engine.local_channel import LocalChannel
from flotilla.realtime.node.control import Command
from flotilla.realtime.node.interface import NodeParts
from flotilla.realtime.node.intervals import grown
from flotilla.store import placement_of

UNSETTLED = 5.0  # seconds after which a channel counts as one that is not live
SLOW = 65_536  # bytes that wait for a client
NAMED = 50  # users and channels that are told by name


class Affected(Command, tag="affected", kw_only=True):
    """`shard`: a Redis by its index, -1 for none; errors are counted over so many seconds."""

    shard: int = -1
    seconds: float = 1.0


async def carry_out(node: NodeParts, command: Affected) -> dict[str, Any]:
    """By trouble (`slow`, `channels`, `errors`, `redis`): connections, users by id ("" for visitors) with how many of
    their connections, and channels."""
    clients = await grown(lambda: node.clients, lambda client: (client.errors,), command.seconds)
    troubled = [client for client, (rate,) in clients if rate > 0]
    found = {
        "slow": _told([client for client, _ in clients if client.socket.waiting > SLOW], []),
        "channels": _of_channels(_unsettled(node)),
        "errors": _told(troubled, []),
    }
    if command.shard >= 0:
        found["redis"] = _of_channels(
            [one for one in list(node.hub.channels.values()) if _on(node, one, command.shard)]
        )
    return found


def _unsettled(node: NodeParts) -> list[LocalChannel]:
    since = node.now() - UNSETTLED
    return [one for one in list(node.hub.channels.values()) if one.unsettled_since and one.unsettled_since < since]


def _on(node: NodeParts, channel: LocalChannel, shard: int) -> bool:
    return node.store.shard_for(placement_of(channel.name)).index == shard


def _of_channels(channels: list[LocalChannel]) -> dict[str, Any]:
    clients = {id(one.subscriber): one.subscriber for channel in channels for one in channel.subscriptions}
    return _told((one for one in clients.values() if isinstance(one, Client)), [one.name for one in channels])


def _told(clients: Iterable[Client], channels: list[str]) -> dict[str, Any]:
    users = Counter(client.identity.user for client in clients)
    return {
        "connections": users.total(),
        "users": dict(users.most_common(NAMED)),
        "more_users": max(0, len(users) - NAMED),
        "channels": sorted(channels)[:NAMED],
        "more_channels": max(0, len(channels) - NAMED),
    }
