"""Set when clients' connections end."""

from dataclasses import replace

from flotilla.realtime.node.interface import NodeParts
from flotilla.realtime.node.selection import Selection, selected
from flotilla.realtime.protocol.codes import DisconnectCode


class Refresh(Selection, tag="refresh", kw_only=True):
    """Whose connections end at `expire_at` (Unix seconds; None: never), or now if `expired`. `info`, as JSON, is what
    others see of them from now on; None leaves it."""

    expire_at: float | None = None
    expired: bool = False
    info: bytes | None = None


async def carry_out(node: NodeParts, command: Refresh) -> int:
    """How many clients it was about."""
    clients = selected(node, command)
    now = node.wall()
    for client in clients:
        if command.expired or (command.expire_at is not None and command.expire_at <= now):
            client.disconnect(DisconnectCode.EXPIRED)
            continue
        if command.info is not None:
            client.identity = replace(client.identity, info=command.info)
        client.expire_at = command.expire_at
        client.schedule()
    return len(clients)
