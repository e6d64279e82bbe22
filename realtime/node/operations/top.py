"""Which clients send most, leave most unread, or get most errors: measured over some seconds."""

import heapq
from typing import Any

from flotilla.realtime.client.client import Client
from flotilla.realtime.node.control import Command
from flotilla.realtime.node.interface import NodeParts
from flotilla.realtime.node.intervals import grown

MOST = 200  # rows
FIGURES = ("messages", "bytes", "errors", "waiting")
TOGETHER = ("connection", "user", "address")


class Top(Command, tag="top", kw_only=True):
    """The first by one of FIGURES, counted together as TOGETHER says, over so many seconds."""

    by: str = "messages"
    per: str = "connection"
    seconds: float = 1.0
    limit: int = 10


async def carry_out(node: NodeParts, command: Top) -> list[dict[str, Any]]:
    """Rows with every figure: messages, bytes and errors a second, bytes that wait now."""
    found = await grown(lambda: node.clients, _counts, command.seconds)
    together: dict[str, dict[str, Any]] = {}
    for client, rates in found:
        row = together.get(key := _key(client, command.per))
        if row is None:
            row = together[key] = _about(client, command.per, node.instance)
        row["connections"] += 1
        for name, value in zip(FIGURES, (*rates, client.socket.waiting), strict=True):
            row[name] += value
    by = command.by if command.by in FIGURES else FIGURES[0]
    some = (row for row in together.values() if row[by] > 0)
    return heapq.nlargest(min(command.limit, MOST), some, key=lambda row: float(row[by]))


def _counts(client: Client) -> tuple[int, ...]:
    return client.received, client.received_bytes, client.errors


def _key(client: Client, per: str) -> str:
    return {"user": client.identity.user, "address": client.address}.get(per, client.id)


def _about(client: Client, per: str, instance: str) -> dict[str, Any]:
    alone = per not in ("user", "address")
    return {
        "client": client.id if alone else "",
        "user": client.identity.user if per != "address" else "",
        "address": client.address if per != "user" else "",
        "instance": instance if alone else "",
        "connections": 0,
        **dict.fromkeys(FIGURES, 0.0),
    }
