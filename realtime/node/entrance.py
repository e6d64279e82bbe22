"""The way in: from a handshake to a client, whoever brought it (`flotilla.realtime.server.direct.Opening`).

Rate limits first, then where the page comes from and what it wants to speak, then the wait for a place, until it is its
turn or its client is gone. Where nothing has to be waited for, nothing here waits.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from flotilla.ratelimit.http.requests import address_of_scope
from flotilla.realtime.access.origins import refusal
from flotilla.realtime.client import handshake
from flotilla.realtime.client.client import Client
from flotilla.realtime.node.admission import Admission
from flotilla.realtime.node.node import get_node
from flotilla.realtime.protocol.codes import DisconnectCode
from flotilla.realtime.server.connection import Connection
from flotilla.realtime.server.direct import Opening

logger = logging.getLogger("flotilla.realtime.consumer")

JSON_SUBPROTOCOL = "centrifuge-json"
AGAIN_AFTER = 1  # seconds; the SDKs wait longer by themselves


async def take(opening: Opening) -> Client | None:
    """Answer a handshake; gives the client that came in, None for one that was refused or is gone. A connection of our
    own server is the client's from then on."""
    node = await get_node()
    if await handshake.refused(opening):
        return None
    scope = opening.scope
    offered = scope.get("subprotocols") or []
    problem = refusal(scope, node.config) or _unknown_protocol(scope, offered)
    if problem:
        logger.warning("handshake refused: %s", problem)
        await opening.reject(403)
        return None
    address = address_of_scope(scope)
    place = await _enter(node.admission, address, opening)
    if place is None:
        return None
    try:
        socket = await opening.accept(JSON_SUBPROTOCOL if offered else None, node.config.max_outgoing_bytes)
    except BaseException:
        node.admission.leave(place)
        raise
    client = Client(node, socket, scope, place, address)
    if node.draining:
        client.disconnect(DisconnectCode.SHUTDOWN)
    elif reason := node.blocks.against("", client.address):
        client.disconnect(DisconnectCode.PERMISSION_DENIED, reason)
    if isinstance(socket, Connection):
        socket.adopt(client, node.bounds)  # it calls the client itself
    return client


async def _enter(admission: Admission, address: str, opening: Opening) -> int | None:
    """Wait for a place; gives its ticket, or None when the client is gone, or was refused since too many wait."""
    turn = admission.ask(address)
    if not turn.done():
        gone = opening.gone()
        try:
            await asyncio.wait((turn, gone), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            admission.withdraw(turn)
            raise
        finally:
            gone.cancel()
        if gone.done() and not gone.cancelled():
            admission.withdraw(turn)
            return None
    if turn.exception() is not None:
        await handshake.refuse(opening, 503, AGAIN_AFTER)
        return None
    return turn.result()


def _unknown_protocol(scope: Mapping[str, Any], offered: list[str]) -> str:
    """Why the handshake asks for something that is not spoken here; "" when it does not."""
    if offered and JSON_SUBPROTOCOL not in offered:
        return "none of the subprotocols that were offered is spoken here"
    if b"protobuf" in scope.get("query_string", b""):
        return "protobuf is not spoken here"
    return ""
