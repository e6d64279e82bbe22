"""One HTTP request to a service outside: bounded in bytes and in all of its time, without blocking the loop.

The time counts for everything together: name, connection, TLS, request and answer. No redirect is followed, no proxy of
the environment is used, and nothing is kept open. Where the caller says so, a name is resolved here and only addresses
that may be asked are connected to, so that no name leads into a private network.
"""

import asyncio
import http.client
import io
import socket
import ssl
from collections.abc import Callable, Mapping
from functools import cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any, NamedTuple, cast
from urllib.parse import SplitResult, urlsplit

Address = IPv4Address | IPv6Address

MAX_HEAD = 65_536  # bytes of what goes around an answer's body
PIECE = 65_536  # bytes read at a time
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in its last 32 bits


class RequestFailed(Exception):
    """There is no usable answer; the message says why."""


class Answer(NamedTuple):
    """What came back. `body` is b"" where nobody wanted it."""

    status: int
    body: bytes


def url_fault(url: str) -> str:
    """What is wrong with a URL that is to be asked, "" when nothing is. Its scheme is judged by the caller."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        return f"expected a URL ({error})"
    if parts.scheme not in ("https", "http") or not host:
        return "expected an https:// URL"
    if not url.isascii() or not url.isprintable() or " " in url:
        return "expected a URL in ASCII, without spaces"
    if parts.username is not None or parts.password is not None:
        return "expected a URL without a user and password"
    return ""


def is_public(address: Address) -> bool:
    """Whether an address is one of the internet's, and not this machine's or of a network behind it."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast


async def ask(
    method: str,
    url: str,
    *,
    within: float,
    headers: Mapping[str, str],
    body: bytes = b"",
    most: int | None = None,
    allowed: Callable[[Address], bool] | None = None,
) -> Answer:
    """Send a request; the answer to it within so many seconds. Raises RequestFailed.

    `most`: bytes its body may have; None: it is not read. `allowed`: which addresses may be connected to.
    """
    parts = urlsplit(url)
    try:
        async with asyncio.timeout(within):
            received = await _exchange(parts, _request(method, parts, headers, body), most, allowed)
    except TimeoutError:
        raise RequestFailed(f"no complete answer within {within:g} s") from None
    except (OSError, UnicodeError) as error:  # ssl.SSLError and socket.gaierror are OSErrors
        raise RequestFailed(f"{type(error).__name__}: {error}") from None
    return _answer(received, method, most)


async def _exchange(
    parts: SplitResult, request: bytes, most: int | None, allowed: Callable[[Address], bool] | None
) -> bytes:
    reader, writer = await _connect(parts, allowed)
    try:
        writer.write(request)
        return await (_head(reader) if most is None else _all(reader, most + MAX_HEAD))
    finally:
        writer.transport.abort()


async def _connect(
    parts: SplitResult, allowed: Callable[[Address], bool] | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    secure, host = parts.scheme == "https", parts.hostname or ""
    port = parts.port or (443 if secure else 80)
    context = await asyncio.to_thread(_tls) if secure else None
    if allowed is None:
        return await asyncio.open_connection(host, port, ssl=context)
    failure: OSError | None = None
    for address in await _addresses(host, port, allowed):
        try:
            name = host if secure else None
            return await asyncio.open_connection(address, port, ssl=context, server_hostname=name)
        except OSError as error:
            failure = error
    raise failure or RequestFailed("the name has no address that may be asked")


async def _addresses(host: str, port: int, allowed: Callable[[Address], bool]) -> list[str]:
    """The addresses of a name that may be asked. Raises RequestFailed where all others are private, or all are not."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    usable = [address for address in addresses if allowed(ip_address(address.partition("%")[0]))]
    if addresses and not usable:
        raise RequestFailed("the name leads to an address that may not be asked")
    return usable


def _request(method: str, parts: SplitResult, headers: Mapping[str, str], body: bytes) -> bytes:
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {path} HTTP/1.1", f"Host: {parts.netloc}", *(f"{key}: {headers[key]}" for key in headers)]
    if method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    lines += ["Accept-Encoding: identity", "User-Agent: flotilla", "Connection: close", "", ""]
    return "\r\n".join(lines).encode("ascii") + body


async def _all(reader: asyncio.StreamReader, most: int) -> bytes:
    """Everything until the connection ends. Raises OSError, and RequestFailed for more than `most` bytes."""
    received = bytearray()
    try:
        while piece := await reader.read(PIECE):
            received += piece
            if len(received) > most:
                raise RequestFailed("the answer is too large")
    except (ssl.SSLError, ConnectionError):
        if not received:
            raise
        # Some servers end TLS without a word. Whether the answer is complete is said by its own length.
    return bytes(received)


async def _head(reader: asyncio.StreamReader) -> bytes:
    """The head of the final answer, alone; whatever follows is not read. Raises as `_all` does."""
    received = bytearray()
    while True:
        if (end := received.find(b"\r\n\r\n")) >= 0:
            if not _is_interim(received):
                return bytes(received[: end + 4])
            del received[: end + 4]
            continue
        piece = await reader.read(PIECE)
        if not piece:
            raise RequestFailed("no complete HTTP answer (it ended within its head)")
        received += piece
        if len(received) > MAX_HEAD:
            raise RequestFailed("the answer's head is too large")


def _is_interim(head: bytearray) -> bool:
    return head[:7] == b"HTTP/1." and head[8:10] == b" 1"


class _Received:
    """What `http.client` reads an answer from, in place of a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def _answer(received: bytes, method: str, most: int | None) -> Answer:
    """An answer that is all there, as far as it was wanted. Raises RequestFailed for any other."""
    response = http.client.HTTPResponse(cast(Any, _Received(received)), method=method)
    try:
        response.begin()
        if most is None or response.status != 200:
            return Answer(response.status, b"")
        body = response.read(most + 1) if response.chunked else response.read()
    except (http.client.HTTPException, ValueError, OSError) as error:
        raise RequestFailed(f"no complete HTTP answer ({type(error).__name__})") from None
    if len(body) > most:
        raise RequestFailed(f"the document has more than {most} bytes")
    return Answer(response.status, body)


@cache
def _tls() -> ssl.SSLContext:
    """Made once, in a thread: reading the machine's certificates takes a while. SSL_CERT_FILE adds an authority."""
    return ssl.create_default_context()
