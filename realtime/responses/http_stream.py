"""`/connection/http_stream`: a POST whose body holds the first commands, and whose response streams what the client is
sent: a JSON object a line, or Protobuf, each message behind its length, where the request is of that kind.
"""

from flotilla.realtime.conf import get_config
from flotilla.realtime.node.response_entrance import take
from flotilla.realtime.protocol.encodings import JSON
from flotilla.realtime.protocol.protobuf.encoding import PROTOBUF
from flotilla.realtime.protocol.streams import as_lines, as_they_are
from flotilla.realtime.responses.exchange import (
    OCTETS,
    Receive,
    Refused,
    Scope,
    Send,
    body_of,
    guarded,
    is_protobuf,
    text_of,
)
from flotilla.realtime.responses.opening import ResponseOpening

TRANSPORT = "http_stream"
LINES = b"application/x-ndjson"


async def _serve(scope: Scope, receive: Receive, send: Send) -> None:
    body = await body_of(scope, receive, get_config().max_message_bytes)
    message = body if is_protobuf(scope) else text_of(body).strip()
    if not message:
        raise Refused(400, "the body holds the first commands")
    if is_protobuf(scope):
        opening = ResponseOpening(scope, receive, send, OCTETS)
        format = opening.format(PROTOBUF, as_they_are)
    else:
        opening = ResponseOpening(scope, receive, send, LINES)
        format = opening.format(JSON, as_lines)
    await take(opening, format, TRANSPORT, message)


http_stream = guarded("POST", _serve)
