"""Check again whether clients may be where they are, and end what is no longer allowed."""

from flotilla.realtime.node.interface import NodeParts
from flotilla.realtime.node.selection import Selection, selected


class Reauthorize(Selection, tag="reauthorize", kw_only=True):
    """Whose access to check; with `channel` as subscribers of that channel alone."""


async def carry_out(node: NodeParts, command: Reauthorize) -> int:
    """How many connections and subscriptions were ended."""
    node.reauthorization.revision += 1
    for client in selected(node, command, inside=False):
        if client.busy:
            client.renew_hook_cache()  # it may be on its way into the channel
    return await node.reauthorization.reauthorize(selected(node, command), command.channel)
