"""How far the clients that are asked about have been given each of their channels. No payloads are shown."""

from typing import Any

from flotilla.realtime.client.client import Client
from flotilla.realtime.engine.local_channel import LocalChannel
from flotilla.realtime.engine.subscription import Subscription
from flotilla.realtime.node.interface import NodeParts
from flotilla.realtime.node.selection import Selection, selected

MOST = 500  # rows


class Deliveries(Selection, tag="deliveries", kw_only=True):
    """Up to `limit` subscriptions of the selected clients, those to `channel` where it is named."""

    limit: int = MOST


async def carry_out(node: NodeParts, command: Deliveries) -> list[dict[str, Any]]:
    """Rows: the client, the channel, how it is given (`way`), and up to where: `offset` of `epoch`; `newest` is the
    channel's top as this instance knows it. What was given may still be among the `waiting` bytes."""
    rows: list[dict[str, Any]] = []
    for client in selected(node, command):
        for name in sorted(client.subscriptions):
            channel = node.hub.channels.get(name)
            if channel is not None and command.channel in ("", name):
                rows.append(_row(client, client.subscriptions[name], channel, node.instance))
            if len(rows) >= min(command.limit, MOST):
                return rows
    return rows


def _row(client: Client, subscription: Subscription, channel: LocalChannel, instance: str) -> dict[str, Any]:
    way, offset = _given(subscription, channel)
    return {
        "client": client.id,
        "instance": instance,
        "since": client.since,
        "waiting": client.socket.waiting,
        "channel": channel.name,
        "way": way,
        "history": channel.history,
        "epoch": channel.position.epoch,
        "offset": offset,
        "newest": max(channel.newest.offset, channel.position.offset),
    }


def _given(subscription: Subscription, channel: LocalChannel) -> tuple[str, int]:
    """`live`, `fed` (what it missed, at its own pace) or `joining` (its reply is not out), and the last offset."""
    feed = channel.feeds.get(subscription)
    if feed is not None:
        return "fed", feed.given
    if subscription.held is not None:
        return "joining", 0
    return "live", max(channel.position.offset, subscription.floor)
