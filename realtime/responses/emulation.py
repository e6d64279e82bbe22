"""`/emulation`: a POST with what a client says whose connection is a response, on whichever instance it arrives.

204: it was handed on; its answers come over the client's connection. 404: there is no such session any more, and the
client connects anew. 503: its instance could not be reached.
"""

from flotilla.realtime.access.cors import cors_headers
from flotilla.realtime.node.emulation import Outcome
from flotilla.realtime.node.node import get_node
from flotilla.realtime.protocol import emulation as protocol
from flotilla.realtime.responses.exchange import Receive, Refused, Scope, Send, answer, body_of, guarded, is_protobuf

ROOM = 1024  # bytes of a body around the data
ESCAPED = 2  # bytes in which JSON writes one of the data, where many are quotes


async def _serve(scope: Scope, receive: Receive, send: Send) -> None:
    node = await get_node()
    most = node.config.max_message_bytes
    body = await body_of(scope, receive, ESCAPED * most + ROOM)
    try:
        said = protocol.read(body, protobuf=is_protobuf(scope))
    except ValueError as error:
        raise Refused(400, f"this is no request of an emulation: {error}") from None
    if len(said.data.encode() if isinstance(said.data, str) else said.data) > most:
        raise Refused(413, f"a message has at most {most} bytes")
    outcome = await node.emulation.deliver(said)
    if outcome is Outcome.UNKNOWN:
        raise Refused(404, "there is no such session")
    if outcome is Outcome.TRY_AGAIN:
        raise Refused(503, "the client's instance cannot be reached now", [(b"retry-after", b"1")])
    await answer(send, 204, cors_headers(scope, node.config))


emulation = guarded("POST", _serve)
