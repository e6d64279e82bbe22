"""Send a message to clients, of no channel. Nothing is kept of it."""

import asyncio

from flotilla.realtime.node.interface import NodeParts
from flotilla.realtime.node.selection import Selection, selected, waves


class Message(Selection, tag="message", kw_only=True):
    """Who gets it; `data` is JSON."""

    data: bytes = b"null"


async def carry_out(node: NodeParts, command: Message) -> int:
    """How many clients it was written to."""
    clients = selected(node, command)
    for wave in waves(clients):
        for client in wave:
            client.send(client.encoding.message_push(command.data))
        await asyncio.sleep(0)
    return len(clients)
