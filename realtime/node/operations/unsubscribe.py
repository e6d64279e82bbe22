"""End subscriptions to a channel. One whose reply is not out yet is ended after it, and never overlooked."""

import asyncio

from flotilla.realtime.node.interface import NodeParts
from flotilla.realtime.node.selection import Selection, selected
from flotilla.realtime.protocol.codes import UnsubscribeCode


class Unsubscribe(Selection, tag="unsubscribe", kw_only=True):
    """Whose subscriptions to end, with which code and reason; 0 and "" are those of SERVER."""

    channel: str
    code: int = 0
    reason: str = ""


async def carry_out(node: NodeParts, command: Unsubscribe) -> int:
    """How many subscriptions were ended."""
    code = command.code or UnsubscribeCode.SERVER
    reason = command.reason or UnsubscribeCode.SERVER.reason
    clients = selected(node, command)
    return sum(await asyncio.gather(*(client.end_channel(command.channel, code, reason) for client in clients)))
