"""Fetches one JWKS document: HTTPS (or loopback), bounded in size and in all of its time, without blocking the loop.

The time counts for everything together: name, connection, TLS, and every byte of the answer. No redirect is followed,
no proxy of the environment is used, and nothing is kept open. A URL that is neither https nor of this machine is
refused: whoever can change the answer on its way can sign for anybody.
"""

import asyncio
import http.client
import io
import ssl
from functools import cache
from typing import Any, cast
from urllib.parse import SplitResult, urlsplit

from flotilla.realtime.token_settings import fault_of_url

MAX_BYTES = 262_144  # of the document
MAX_HEAD = 65_536  # of what goes around it
WITHIN = 3.0  # seconds; a command has 4


class FetchFailed(Exception):
    """There is no document; the message says why."""


async def fetch(url: str, *, within: float = WITHIN, most: int = MAX_BYTES) -> bytes:
    """The document at a URL: at most `most` bytes, within so many seconds. Raises FetchFailed."""
    if fault := fault_of_url(url):
        raise FetchFailed(fault)
    parts = urlsplit(url)
    try:
        async with asyncio.timeout(within):
            received = await _exchange(parts, most + MAX_HEAD)
    except TimeoutError:
        raise FetchFailed(f"no complete answer within {within:g} s") from None
    except (OSError, UnicodeError) as error:  # ssl.SSLError and socket.gaierror are OSErrors
        raise FetchFailed(f"{type(error).__name__}: {error}") from None
    return _document(received, most)


async def _exchange(parts: SplitResult, most: int) -> bytes:
    """Ask, and read until the connection ends. Raises OSError, and FetchFailed for more than `most` bytes."""
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    context = await asyncio.to_thread(_tls) if secure else None
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=context)
    try:
        writer.write(_request(parts))
        return await _all(reader, most)
    finally:
        writer.transport.abort()


def _request(parts: SplitResult) -> bytes:
    host = parts.netloc
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = (
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Accept: application/json, application/jwk-set+json",
        "Accept-Encoding: identity",
        "User-Agent: flotilla",
        "Connection: close",
    )
    return "\r\n".join((*lines, "", "")).encode("ascii")


async def _all(reader: asyncio.StreamReader, most: int) -> bytes:
    received = bytearray()
    try:
        while piece := await reader.read(65_536):
            received += piece
            if len(received) > most:
                raise FetchFailed("the answer is too large")
    except (ssl.SSLError, ConnectionError):
        if not received:
            raise
        # Some servers end TLS without a word. Whether the answer is complete is said by its own length.
    return bytes(received)


class _Received:
    """What `http.client` reads an answer from, in place of a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def _document(received: bytes, most: int) -> bytes:
    """The body of an answer that is all there. Raises FetchFailed for any other."""
    response = http.client.HTTPResponse(cast(Any, _Received(received)), method="GET")
    try:
        response.begin()
        if response.status != 200:
            hint = ": redirects are not followed, write the address it leads to" if 300 <= response.status < 400 else ""
            raise FetchFailed(f"the answer is {response.status}{hint}")
        body = response.read(most + 1) if response.chunked else response.read()
    except (http.client.HTTPException, ValueError, OSError) as error:
        raise FetchFailed(f"no complete HTTP answer ({type(error).__name__})") from None
    if len(body) > most:
        raise FetchFailed(f"the document has more than {most} bytes")
    return body


@cache
def _tls() -> ssl.SSLContext:
    """Made once, in a thread: reading the machine's certificates takes a while. SSL_CERT_FILE adds an authority."""
    return ssl.create_default_context()
