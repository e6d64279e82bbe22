"""What a client has said to another instance, in a request of its own: it is handed to the client here."""

from flotilla.realtime.node.control import Command
from flotilla.realtime.node.interface import NodeParts


class Emulate(Command, tag="emulate", kw_only=True):
    """Its session, and its commands: `text` in JSON, else `raw`."""

    session: str = ""
    text: str = ""
    raw: bytes = b""


async def carry_out(node: NodeParts, command: Emulate) -> int:
    """1 where the client is here."""
    return int(node.sessions.deliver(command.session, command.text or command.raw))
