"""Inspection of clients: a page of their connections, in the order of their ids or another. No payloads are shown."""

from operator import attrgetter
from typing import Any

from flotilla.realtime.client.client import Client
from flotilla.realtime.node.interface import NodeParts
from flotilla.realtime.node.paging import page, steady
from flotilla.realtime.node.search import ORDERS, Search, fitting, is_at, sdk_of
from flotilla.realtime.node.selection import candidates, condition

MAX_CHANNELS = 20  # named of one connection

_id = attrgetter("id")


class Connections(Search, tag="connections", kw_only=True):
    """Up to `limit` of those that are searched for, with ids above `after`. With an `order` (of `search.ORDERS`, "-"
    before it for the largest first) they come behind `mark`, the value and the id where the page before it ended."""

    after: str = ""
    limit: int = 0
    order: str = ""
    mark: tuple[float | str, str] | None = None


async def carry_out(node: NodeParts, command: Connections) -> dict[str, Any]:
    """`total`, how many fit, and `rows`."""
    if not is_at(node, command.at):
        return {"total": 0, "rows": []}
    wanted, among = condition(command, True, fitting(command)), candidates(node, command, True)
    value = ORDERS.get(command.order.lstrip("-"))
    if value is None:
        total, rows = await page(among, wanted, _id, command.after, command.limit)
    else:
        key, backwards = steady(value, _id), command.order.startswith("-")
        total, rows = await page(among, wanted, key, command.mark, command.limit, descending=backwards)
    return {"total": total, "rows": [row_of(client, node.instance) for client in rows]}


def row_of(client: Client, instance: str) -> dict[str, Any]:
    """A connection as lists show it."""
    channels = sorted(client.subscriptions)
    return {
        "client": client.id,
        "user": client.identity.user,
        "via": client.identity.via,
        "address": client.address,
        "name": client.name,
        "transport": client.transport,
        "sdk": sdk_of(client),
        "instance": instance,
        "since": client.since,
        "channels": channels[:MAX_CHANNELS],
        "num_channels": len(channels),
        "commands": client.commands.handled,
        "waiting": client.socket.unsent,
    }
