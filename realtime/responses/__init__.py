"""Clients whose connection is a response that does not end, and the requests with which they speak.

http_stream.py  `/connection/http_stream`: lines of JSON or Protobuf, as the SDKs do it
sse.py          `/connection/sse`: server-sent events, as the SDKs do it
emulation.py    `/emulation`: what the clients of both say
uni_sse.py      `/connection/uni_sse`: one way, for a plain EventSource
opening.py      a request that asks for such a response, as a handshake
exchange.py     methods, bodies, short answers, and what other origins are told
one_way.py      replies and pushes as events whose ids are positions
"""
