"""Which channels have most publications or deliveries here: measured over some seconds, the first of them told."""

import heapq
from typing import Any

from flotilla.realtime.engine.local_channel import LocalChannel
from flotilla.realtime.node.control import Command
from flotilla.realtime.node.interface import NodeParts
from flotilla.realtime.node.intervals import grown

MOST = 200  # rows
FIGURES = ("publications", "deliveries", "outgoing")


class Hot(Command, tag="hot", kw_only=True):
    """The first by one of FIGURES, over so many seconds."""

    by: str = "deliveries"
    seconds: float = 1.0
    limit: int = 10


async def carry_out(node: NodeParts, command: Hot) -> list[dict[str, Any]]:
    """Rows with the channel, its subscribers here, and every figure a second; `outgoing` are bytes to clients."""
    found = await grown(lambda: node.hub.channels, _counts, command.seconds)
    rows = [_row(channel, *rates) for channel, rates in found if any(rates)]
    by = command.by if command.by in FIGURES else "deliveries"
    return heapq.nlargest(min(command.limit, MOST), rows, key=lambda row: float(row[by]))


def _counts(channel: LocalChannel) -> tuple[int, ...]:
    return channel.publications, channel.published_bytes


def _row(channel: LocalChannel, publications: float, size: float) -> dict[str, Any]:
    subscribers = len(channel.subscriptions)
    return {
        "channel": channel.name,
        "subscribers": subscribers,
        "publications": publications,
        "deliveries": publications * subscribers,
        "outgoing": size * subscribers,
    }
