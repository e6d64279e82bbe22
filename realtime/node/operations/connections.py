"""Inspection of clients: a page of their connections, in the order of their ids. No payloads are shown."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from flotilla.realtime.client.client import Client
from flotilla.realtime.node.interface import NodeParts
from flotilla.realtime.node.paging import page
from flotilla.realtime.node.selection import Selection, candidates, condition

MAX_CHANNELS = 20  # named of one connection
HEXADECIMAL = set("0123456789abcdef")

_id = attrgetter("id")


class Connections(Selection, tag="connections", kw_only=True):
    """Up to `limit` of the selected ones with ids above `after`, where `text` begins the user, address or id, or is
    in the client's name."""

    text: str = ""
    after: str = ""
    limit: int = 0


async def carry_out(node: NodeParts, command: Connections) -> dict[str, Any]:
    """`total`, how many fit, and `rows`."""
    wanted = condition(command, True, _search(command.text) if command.text else None)
    total, rows = await page(candidates(node, command, True), wanted, _id, command.after, command.limit)
    return {"total": total, "rows": [_row(client, node.instance) for client in rows]}


def _search(text: str) -> Callable[[Client], bool]:
    lowered = text.lower()
    signs = set(lowered)  # a text that can be no id or no address is not compared with any
    may_be_id, may_be_address = signs <= HEXADECIMAL | {"-"}, signs <= HEXADECIMAL | {".", ":"}

    def fits(client: Client) -> bool:
        return (
            client.identity.user.startswith(text)
            or (may_be_id and client.id.startswith(text))
            or (may_be_address and client.address.startswith(text))
            or lowered in client.name.lower()
        )

    return fits


def _row(client: Client, instance: str) -> dict[str, Any]:
    channels = sorted(client.subscriptions)
    return {
        "client": client.id,
        "user": client.identity.user,
        "via": client.identity.via,
        "address": client.address,
        "name": client.name,
        "instance": instance,
        "since": client.since,
        "channels": channels[:MAX_CHANNELS],
        "num_channels": len(channels),
        "waiting": client.socket.unsent,
    }
