"""The way in of a client whose connection is a response (`flotilla.realtime.responses`): as that of a WebSocket, with
the first commands at hand, and with a session by which requests find it.
"""

from typing import Any, Protocol

from flotilla.ratelimit.http.requests import address_of_scope
from flotilla.realtime.client import handshake
from flotilla.realtime.client.client import Client
from flotilla.realtime.client.states import State
from flotilla.realtime.node.entrance import enter
from flotilla.realtime.node.node import get_node
from flotilla.realtime.protocol.codes import DisconnectCode
from flotilla.realtime.protocol.formats import Format
from flotilla.realtime.server.direct import Opening

LEFT = 1000


class ResponseOpening(Opening, Protocol):
    """A request that waits for its response."""

    async def until_over(self, socket: Any) -> bool:
        """Wait until the client has left or the response has ended; False where the socket itself will tell that."""


async def take(opening: ResponseOpening, format: Format, transport: str, message: str | bytes) -> None:
    """Answer a request, have its client say `message`, and see it to its end."""
    client = await open_client(opening, format, transport)
    if client is None:
        return
    if client.state is not State.CLOSED:
        sessions = (await get_node()).sessions
        client.session = sessions.begin(client)
        sessions.deliver(client.session, message)
    await see_off(opening, client.socket, client)


async def open_client(opening: ResponseOpening, format: Format, transport: str) -> Client | None:
    """A client that came in; None for one that was refused or is gone. One that is sent away at once is closed."""
    node = await get_node()
    if await handshake.refused(opening):
        return None
    address = address_of_scope(opening.scope)
    place = await enter(node.admission, address, opening)
    if place is None:
        return None
    try:
        socket = await opening.accept(None, node.config.max_outgoing_bytes)
    except BaseException:
        node.admission.leave(place)
        raise
    client = Client(node, socket, opening.scope, place, address, format)
    client.transport = transport
    if node.draining:
        client.disconnect(DisconnectCode.SHUTDOWN)
    elif reason := node.blocks.against("", client.address):
        client.disconnect(DisconnectCode.PERMISSION_DENIED, reason)
    socket.adopt(client)
    return client


async def see_off(opening: ResponseOpening, socket: Any, client: Client) -> None:
    """See a client to its end, where its socket does not."""
    over = True
    try:
        over = await opening.until_over(socket)
    finally:
        if over:
            client.closed(LEFT)
