"""Follow a channel, a user or a connection live, for who looks; sent again and again while somebody does."""

from flotilla.realtime.node.control import Command
from flotilla.realtime.node.interface import NodeParts
from flotilla.realtime.node.tails import KINDS


class Tail(Command, tag="tail", kw_only=True):
    """`id` names the tail; `about` is "channel", "user" or "client", and `name` which one. `listener` is the
    incarnation that listens to a channel for all. `over`: nobody looks any more. Without `payloads` they are masked."""

    id: str = ""
    about: str = ""
    name: str = ""
    listener: str = ""
    payloads: bool = False
    over: bool = False


async def carry_out(node: NodeParts, command: Tail) -> int:
    """1 where the instance follows it from now on; 0 where too many look already, or it is over."""
    if command.over:
        await node.tails.end(command.id)
        return 0
    if command.about not in KINDS or not command.id:
        return 0
    listens = command.listener == node.presence.incarnation
    kept = await node.tails.keep(command.id, command.about, command.name, payloads=command.payloads, listens=listens)
    return int(kept)
