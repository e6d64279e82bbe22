"""Count clients."""

from flotilla.realtime.node.interface import NodeParts
from flotilla.realtime.node.selection import Selection, selected


class Count(Selection, tag="count", kw_only=True):
    """Which clients."""


async def carry_out(node: NodeParts, command: Count) -> int:
    """How many there are."""
    return len(selected(node, command))
