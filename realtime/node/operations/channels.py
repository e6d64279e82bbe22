"""All channels with subscribers here, as the HTTP API's `channels` lists them."""

from flotilla.realtime.node.control import Command
from flotilla.realtime.node.interface import NodeParts


class Channels(Command, tag="channels", kw_only=True):
    """It has no fields of its own."""


async def carry_out(node: NodeParts, command: Channels) -> dict[str, int]:
    """Subscribers here by channel."""
    known = node.hub.channels
    return {name: len(channel.subscriptions) for name, channel in known.items() if channel.subscriptions}
