"""Inspection of one client: all that its instance knows of its connection, without payloads and secrets."""

from typing import Any

from flotilla.realtime.client.client import Client
from flotilla.realtime.engine.subscription import Subscription
from flotilla.realtime.node.control import Command
from flotilla.realtime.node.interface import NodeParts
from flotilla.realtime.node.operations.connections import row_of

MAX_SUBSCRIPTIONS = 200  # told of one connection


class Connection(Command, tag="connection", kw_only=True):
    """Which client, by its id."""

    client: str = ""


async def carry_out(node: NodeParts, command: Connection) -> dict[str, Any]:
    """What is known of it; {} where it is not a client of this instance."""
    client = node.clients.get(command.client)
    return about(node, client) if client is not None else {}


def about(node: NodeParts, client: Client) -> dict[str, Any]:
    """A connection with its handshake, subscriptions and positions, and what it has used of its bounds."""
    row = row_of(client, node.instance)
    by_name = sorted(client.subscriptions.items())[:MAX_SUBSCRIPTIONS]
    error = client.commands.last_error
    return row | {
        "incarnation": node.presence.incarnation,
        "state": client.state.name.lower(),
        "origin": client.came_by.origin,
        "agent": client.came_by.agent,
        "path": client.came_by.path,
        "version": client.version,
        "expire_at": client.expire_at,
        "subscriptions": [_subscription(node, name, one) for name, one in by_name],
        "last_error": {"method": error[0], "said": error[1], "at": error[2]} if error else None,
        "bounds": [
            ["channels", len(client.subscriptions), node.config.max_channels],
            ["commands waiting", client.commands.waiting, node.config.max_queued_commands],
            ["bytes waiting", client.socket.unsent, node.config.max_outgoing_bytes],
        ],
    }


def _subscription(node: NodeParts, name: str, subscription: Subscription) -> dict[str, Any]:
    """`offset` and `epoch` are how far the client has been given the channel; a feed is behind the others."""
    channel = node.hub.channels.get(name)
    position = channel.position if channel is not None else None
    fed = channel.feeds.get(subscription) if channel is not None else None
    return {
        "channel": name,
        "server_side": subscription.server_side,
        "recoverable": subscription.recoverable,
        "expire_at": subscription.expire_at,
        "epoch": position.epoch if position is not None else "",
        "offset": fed.covered if fed is not None else position.offset if position is not None else 0,
        "fed": fed is not None,
        "joining": subscription.held is not None,
    }
