"""`/connection/sse`: a GET whose query holds the first commands (`cf_connect`), and whose response is a stream of
server-sent events: each holds JSON objects, one a line.
"""

from flotilla.realtime.conf import get_config
from flotilla.realtime.node.response_entrance import take
from flotilla.realtime.protocol.encodings import JSON
from flotilla.realtime.protocol.streams import as_event
from flotilla.realtime.responses.exchange import Receive, Refused, Scope, Send, guarded, query_of
from flotilla.realtime.responses.opening import ResponseOpening

TRANSPORT = "sse"
EVENTS = b"text/event-stream; charset=utf-8"


async def _serve(scope: Scope, receive: Receive, send: Send) -> None:
    said = query_of(scope).get("cf_connect", [])
    if len(said) != 1 or not said[0].strip():
        raise Refused(400, "the query's cf_connect holds the first commands")
    if len(said[0].encode()) > get_config().max_message_bytes:
        raise Refused(413, f"a message has at most {get_config().max_message_bytes} bytes")
    opening = ResponseOpening(scope, receive, send, EVENTS)
    await take(opening, opening.format(JSON, as_event), TRANSPORT, said[0])


sse = guarded("GET", _serve)
