"""What depends on this instance: who would have to connect elsewhere, and what they would miss meanwhile."""

import asyncio
from typing import Any

from flotilla.realtime.client.states import State
from flotilla.realtime.node.control import Command
from flotilla.realtime.node.interface import NodeParts
from flotilla.realtime.node.intervals import stretches
from flotilla.realtime.server.conf import get_server_config

NAMED = 10  # channels that are told by name


class Stakes(Command, tag="stakes", kw_only=True):
    """It has no fields of its own."""


async def carry_out(node: NodeParts, command: Stakes) -> dict[str, Any]:
    """Connections, users, visitors and subscriptions; `keeping`: those that get what they missed when they come back;
    `losing`: those that do not, with some of their channels; and how an end in order would go."""
    keeping, losing, busy, channels = 0, 0, 0, set[str]()
    for stretch in stretches(list(node.clients.values())):
        for client in stretch:
            busy += client.busy
            for subscription in client.subscriptions.values():
                if subscription.recoverable:
                    keeping += 1
                else:
                    losing += 1
                    channels.add(subscription.channel)
        await asyncio.sleep(0)
    return {
        "connections": sum(client.state is State.CONNECTED for client in list(node.clients.values())),
        "users": len(node.users) - ("" in node.users),
        "visitors": len(node.users.get("", ())),
        "keeping": keeping,
        "losing": losing,
        "losing_in": sorted(channels)[:NAMED],
        "busy": busy,
        "grace": get_server_config().drain_grace,
        "deadline": get_server_config().drain_deadline,
    }
