"""End clients. Those that are on their way in are checked again: what was found out about them may no longer hold."""

import asyncio

from flotilla.realtime.node.interface import NodeParts
from flotilla.realtime.node.selection import Selection, selected, waves
from flotilla.realtime.protocol.codes import DisconnectCode


class Disconnect(Selection, tag="disconnect", kw_only=True):
    """Whom to end, with which code and reason; 0 and "" are those of FORCE_DISCONNECT."""

    code: int = 0
    reason: str = ""


async def carry_out(node: NodeParts, command: Disconnect) -> int:
    """How many were ended."""
    node.reauthorization.revision += 1
    clients = selected(node, command)
    for wave in waves(clients):
        for client in wave:
            client.disconnect(command.code or DisconnectCode.FORCE_DISCONNECT, command.reason or None)
        await asyncio.sleep(0)
    return len(clients)
