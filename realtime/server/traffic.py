"""Bytes that this process has read and written, as they are inside of TLS: counted where that happens, for the metrics.

What goes to the channels' subscribers and to clients is counted where its size is known once for many sockets
(`realtime.engine.traffic`, `NodeStats`), so it is not in here. A handshake is HTTP. WebSockets' own frames (close,
ping, pong) are counted as they come, not as they go. One thread writes (the event loop's), any may read.
"""


class Traffic:
    """`websocket_out`: of WebSockets that another application serves on our server."""

    __slots__ = ("http_in", "http_out", "websocket_in", "websocket_out")

    def __init__(self) -> None:
        self.http_in = 0
        self.http_out = 0
        self.websocket_in = 0
        self.websocket_out = 0


traffic = Traffic()
