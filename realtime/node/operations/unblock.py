"""A block is over: this instance's table forgets it."""

from flotilla.realtime.blocks.blocklist import who_of
from flotilla.realtime.node.control import Command
from flotilla.realtime.node.interface import NodeParts


class Unblock(Command, tag="unblock", kw_only=True):
    """Either a user or an address, whose block's end made the `version` of the list of blocks."""

    user: str | None = None
    address: str = ""
    version: int = 0


async def carry_out(node: NodeParts, command: Unblock) -> int:
    """1 where there was a block."""
    return int(node.blocks.lift(who_of(command.user, command.address), command.version))
