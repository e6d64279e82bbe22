"""The way in: from a handshake to a client, whoever brought it (`flotilla.realtime.server.direct.Opening`).

Rate limits first, then where the page comes from and what it wants to speak, then the wait for a place, until it is its
turn or its client is gone. Where nothing has to be waited for, nothing here waits.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from flotilla.ratelimit.http.requests import address_of_scope
from flotilla.realtime.access.origins import refusal
from flotilla.realtime.client import handshake
from flotilla.realtime.client.client import Client
from flotilla.realtime.conf import RealtimeConfig
from flotilla.realtime.node.admission import Admission
from flotilla.realtime.node.node import get_node
from flotilla.realtime.protocol import deflate
from flotilla.realtime.protocol.codes import DisconnectCode
from flotilla.realtime.protocol.formats import WEBSOCKET_JSON, WEBSOCKET_PROTOBUF, Format, deflated
from flotilla.realtime.server.connection import Connection
from flotilla.realtime.server.direct import Opening, WebSocketOpening

logger = logging.getLogger("flotilla.realtime.consumer")

FORMATS: dict[str, Format] = {"centrifuge-json": WEBSOCKET_JSON, "centrifuge-protobuf": WEBSOCKET_PROTOBUF}
"""How clients are spoken to, by the subprotocol that they ask for."""
AGAIN_AFTER = 1  # seconds; the SDKs wait longer by themselves


async def take(opening: WebSocketOpening) -> Client | None:
    """Answer a handshake; gives the client that came in, None for one that was refused or is gone. A connection of our
    own server is the client's from then on."""
    node = await get_node()
    if await handshake.refused(opening):
        return None
    scope = opening.scope
    offered = scope.get("subprotocols") or []
    subprotocol = next((one for one in offered if one in FORMATS), None)
    problem = refusal(scope, node.config) or _unknown_protocol(offered, subprotocol)
    if problem:
        logger.warning("handshake refused: %s", problem)
        await opening.reject(403)
        return None
    address = address_of_scope(scope)
    place = await enter(node.admission, address, opening)
    if place is None:
        return None
    agreed = _compression(opening, node.config)
    extensions = () if agreed is None else ((deflate.HEADER, agreed.answer),)
    try:
        socket = await opening.accept(subprotocol, node.config.max_outgoing_bytes, extensions)
    except BaseException:
        node.admission.leave(place)
        raise
    format = _compressed(_format(scope, subprotocol), agreed, node.config)
    client = Client(node, socket, scope, place, address, format)
    if node.draining:
        client.disconnect(DisconnectCode.SHUTDOWN)
    elif reason := node.blocks.against("", client.address):
        client.disconnect(DisconnectCode.PERMISSION_DENIED, reason)
    if isinstance(socket, Connection):
        socket.adopt(client, node.bounds, agreed is not None)  # it calls the client itself
    return client


async def enter(admission: Admission, address: str, opening: Opening) -> int | None:
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


def _compression(opening: WebSocketOpening, config: RealtimeConfig) -> deflate.Agreement | None:
    """What is agreed on about compression; None for messages as they are. Servers that are not ours do their own."""
    if not config.compression or not opening.is_ours:
        return None
    return deflate.agree(deflate.offers_among(opening.scope["headers"]))


def _compressed(plain: Format, agreed: deflate.Agreement | None, config: RealtimeConfig) -> Format:
    """A format as it is with what is agreed on about compression."""
    return plain if agreed is None else deflated(plain.encoding, agreed.window_bits, config.compression_min_bytes)


def _unknown_protocol(offered: list[str], subprotocol: str | None) -> str:
    """Why the handshake asks for something that is not spoken here; "" when it does not."""
    return "none of the subprotocols that were offered is spoken here" if offered and subprotocol is None else ""


def _format(scope: Mapping[str, Any], subprotocol: str | None) -> Format:
    """How a client is spoken to: as its subprotocol says, else its query, else in JSON."""
    if subprotocol is not None:
        return FORMATS[subprotocol]
    query = scope.get("query_string", b"")
    if b"protobuf" in query:
        asked = parse_qs(query.decode("latin-1"))
        if "protobuf" in asked.get("format", []) + asked.get("cf_protocol", []):
            return WEBSOCKET_PROTOBUF
    return WEBSOCKET_JSON
