"""The HTTP/1.1 side of our server, once a head was read (`server/head.py`): bodies, responses, and the connection.

body.py        a request's body: by length or in chunks
response.py    an ASGI application's response as bytes, exactly as long as it says
request.py     one request's ASGI side: receive, send, and how it ends
scope.py       the ASGI scope of a request or a handshake
connection.py  Twisted's protocol of a connection: one request after another, until an upgrade or the end
progress.py    whether a client takes its response, and sends its body, fast enough
answering.py   the connections that are answered now, for a metric
"""
