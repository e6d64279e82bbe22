"""Attacks by coming: connections that do not say what they want, heads without end, handshakes without a client."""

import os
import time

from tests.hostile.attacker import Aim, Connection, crowd, flood
from tests.hostile.attacks_bodies import head
from tests.raw_frames import CLOSE, TEXT, frame

METHODS = ("GET", "POST", "HEAD", "PUT", "P", "OPTIONS", "BREW", "\r\n", "\x16\x03\x01")
HANDSHAKE = head(
    "/connection/websocket",
    *("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"),
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    method="GET",
)
HEAD_WITHIN = 12.0  # seconds a head is waited for at most, and some more on a busy machine
HELLO = bytes.fromhex("16030100c8010000c40303") + b"\x5a" * 40  # the beginning of a TLS handshake


async def silent(aim: Aim, connections: int, data: bytes = b"", port: int = 0) -> None:
    """Come, say this much, and stay."""

    async def script(one: Connection) -> None:
        await one.open(port)
        if data:
            await one.send(data)
        await one.wait_closed()

    await crowd(aim, connections, script)


async def silent_connections(aim: Aim) -> None:
    """Two thousand connections that say nothing"""
    await silent(aim, 2000)


async def idle_connections(aim: Aim) -> None:
    """A thousand connections that are silent after one request"""
    await silent(aim, 1000, head("/health/live", method="GET"))


async def by_the_byte(one: Connection, data: bytes, within: float) -> None:
    """A byte each second. It is a fault of the server when that may go on for longer than `within` seconds."""
    began = time.monotonic()
    for byte in data:
        await one.wait(1)
        await one.send(bytes((byte,)))
        one.look()
        if time.monotonic() - began > within:
            one.aim.faults[:] = [f"what came by the byte was waited for longer than {within:.0f} s"]
        if not one.aim.goes_on:
            return


async def heads_by_the_byte(aim: Aim) -> None:
    """Five hundred heads of which a byte comes each second, with every method"""
    count = iter(range(10**9))

    async def script(one: Connection) -> None:
        await one.open()
        method = METHODS[next(count) % len(METHODS)]
        await one.send(method.encode("latin-1"))
        await by_the_byte(one, b" /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: " + b"x" * 10_000, HEAD_WITHIN)

    aim.seconds = max(aim.seconds, HEAD_WITHIN + 2)
    await crowd(aim, 500, script)


async def second_heads_by_the_byte(aim: Aim) -> None:
    """The same behind a request that was answered"""

    async def script(one: Connection) -> None:
        await one.open()
        await one.send(head("/health/live", method="GET"))
        await one.read()
        await by_the_byte(one, b"POST /nowhere HTTP/1.1\r\nX-Slow: " + b"x" * 10_000, HEAD_WITHIN)

    aim.seconds = max(aim.seconds, HEAD_WITHIN + 2)
    await crowd(aim, 500, script)


async def connect_and_go(aim: Aim) -> None:
    """Connections that end at once, four hundred a second"""

    async def script(one: Connection) -> None:
        await one.open()

    await crowd(aim, 20, script)


async def connect_and_reset(aim: Aim) -> None:
    """The same, with a reset and half a head"""

    async def script(one: Connection) -> None:
        await one.open()
        await one.send(b"POST / HTTP/1.1\r\nHo")
        one.reset()

    await crowd(aim, 20, script)


async def headers_without_end(aim: Aim) -> None:
    """Heads of small headers that never end, at 1 MB/s"""

    async def script(one: Connection) -> None:
        await one.open()
        await one.send(b"GET /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        await flood(one, b"a:b\r\n" * 1000, 250_000)

    await crowd(aim, 4, script)


async def heads_of_many_headers(aim: Aim) -> None:
    """Heads of 30 KB of the smallest headers, again and again"""
    data = head("/nowhere", *("a:b" for _ in range(6000)), method="GET")

    async def script(one: Connection) -> None:
        await one.open()
        await flood(one, data, 500_000)

    await crowd(aim, 2, script)


async def empty_lines(aim: Aim) -> None:
    """Empty lines at 1 MB/s"""

    async def script(one: Connection) -> None:
        await one.open()
        await flood(one, b"\r\n" * 5000, 500_000)

    await crowd(aim, 2, script)


async def noise(aim: Aim) -> None:
    """Bytes at random at 1 MB/s"""

    async def script(one: Connection) -> None:
        await one.open()
        await flood(one, os.urandom(10_000), 250_000)

    await crowd(aim, 4, script)


async def wrong_requests(aim: Aim) -> None:
    """Requests that are refused, with two lengths or no host, a connection each"""

    async def script(one: Connection) -> None:
        await one.open()
        await one.send(head("/nowhere", "Host: b", "Content-Length: 5", "Content-Length: 6"))
        await one.read_for(2)

    await crowd(aim, 4, script, pause=0.02)


async def root_path_of_a_client(aim: Aim) -> None:
    """`Daphne-Root-Path` with bytes that are no text"""

    async def script(one: Connection) -> None:
        await one.open()
        for value in ("/foo", "%ff", "%00", "//"):
            await one.send(head("/nowhere", f"Daphne-Root-Path: {value}", method="GET"))
            await one.read()

    await crowd(aim, 2, script, pause=0.1)


async def silent_handshakes(aim: Aim) -> None:
    """2,500 handshakes without a `connect`"""
    await silent(aim, 2500, HANDSHAKE)


async def half_handshakes(aim: Aim) -> None:
    """A thousand handshakes without their last line"""
    await silent(aim, 1000, HANDSHAKE[:-2])


async def handshakes_with_bodies(aim: Aim) -> None:
    """Handshakes that announce a body, and send it"""

    async def script(one: Connection) -> None:
        await one.open()
        await one.send(HANDSHAKE[:-2] + b"Content-Length: 100000\r\n\r\n" + b"x" * 100_000)
        await one.read_for(1)

    await crowd(aim, 10, script, pause=0.1)


async def handshakes_and_resets(aim: Aim) -> None:
    """Handshakes that end with a reset"""

    async def script(one: Connection) -> None:
        await one.open()
        await one.send(HANDSHAKE)
        await one.read()
        one.reset()

    await crowd(aim, 3, script, pause=0.03)


async def handshakes_and_closes(aim: Aim) -> None:
    """Handshakes that close at once, in one go"""
    data = HANDSHAKE + frame(CLOSE, b"\x03\xe8") * 50

    async def script(one: Connection) -> None:
        await one.open()
        await one.send(data)
        await one.read_for(1)

    await crowd(aim, 3, script, pause=0.03)


async def wrong_tokens(aim: Aim) -> None:
    """Handshakes with a token that is none"""
    data = HANDSHAKE + frame(TEXT, b'{"id":1,"connect":{"token":"' + b"x" * 4000 + b'"}}')

    async def script(one: Connection) -> None:
        await one.open()
        await one.send(data)
        await one.read_for(1)

    await crowd(aim, 3, script, pause=0.03)


async def half_requests_of_metrics(aim: Aim) -> None:
    """Three hundred half requests at the metrics port"""
    await silent(aim, 300, b"GET /metrics HTTP/1.1\r\nHo", aim.metrics_port)


async def silent_at_metrics(aim: Aim) -> None:
    """Three hundred connections to the metrics port that say nothing"""
    await silent(aim, 300, b"", aim.metrics_port)


async def unread_metrics(aim: Aim) -> None:
    """Fifty connections to the metrics port that ask again and again and read nothing"""

    async def script(one: Connection) -> None:
        await one.open(aim.metrics_port, receive_buffer=4096)
        await one.send(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * 20)
        await one.hold()

    await crowd(aim, 50, script)


async def half_TLS_handshakes(aim: Aim) -> None:
    """A thousand beginnings of a TLS handshake"""
    await silent(aim, 1000, HELLO, aim.tls_port)


async def noise_as_TLS(aim: Aim) -> None:
    """Bytes at random to the TLS port"""

    async def script(one: Connection) -> None:
        await one.open(aim.tls_port)
        await one.send(HELLO + os.urandom(2000))
        await one.read_for(1)

    await crowd(aim, 4, script, pause=0.02)


HTTP = (
    *("silent_connections", "idle_connections", "heads_by_the_byte", "second_heads_by_the_byte", "connect_and_go"),
    *("connect_and_reset", "headers_without_end", "heads_of_many_headers", "empty_lines", "noise", "wrong_requests"),
    "root_path_of_a_client",
)
SOCKETS = (
    *("silent_handshakes", "half_handshakes", "handshakes_with_bodies", "handshakes_and_resets"),
    *("handshakes_and_closes", "wrong_tokens", "half_requests_of_metrics", "silent_at_metrics", "unread_metrics"),
    *("half_TLS_handshakes", "noise_as_TLS"),
)
