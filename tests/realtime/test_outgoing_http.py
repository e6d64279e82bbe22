"""Requests to services outside: which addresses are asked, and what a request looks like on the wire."""

import asyncio
import ssl
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from flotilla.realtime import outgoing_http
from flotilla.realtime.outgoing_http import RequestFailed, ask, is_public
from tests.realtime.access.test_jwks_fetch import certificate
from tests.waiting import PATIENCE

PRIVATE = [
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
    "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "2002:a00:1::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_known_in_every_dress(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "64:ff9b::808:808"])
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(ip_address(address))


async def _asked(answer: bytes, method: str = "POST", **options: Any) -> tuple[Any, bytes]:
    """The answer to a request, and the request as it came."""
    heard = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.readuntil(b"\r\n\r\n"))
        if method == "POST":
            heard.extend(await reader.readexactly(2))
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}/a%20b?c=d"
        found = await ask(method, url, within=PATIENCE, headers={"X-Said": "so"}, **options)
    return found, bytes(heard)


@pytest.mark.asyncio
async def test_a_request_says_its_length_and_that_it_is_the_last() -> None:
    answer, heard = await _asked(b"HTTP/1.1 204 No Content\r\n\r\n", body=b"{}")
    assert answer == (204, b"")
    head, _, body = heard.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /a%20b?c=d HTTP/1.1"
    assert {b"X-Said: so", b"Content-Length: 2", b"Connection: close"} <= set(lines)
    assert body == b"{}"


@pytest.mark.asyncio
async def test_a_body_is_read_where_it_is_wanted() -> None:
    answer, _ = await _asked(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", method="GET", most=3)
    assert answer == (200, b"abc")
    with pytest.raises(RequestFailed, match="more than 2 bytes"):
        await _asked(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", method="GET", most=2)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "part", [b"HTTP/1.1 200 OK", b"HTTP/1.1 204 No Content\r\nServer: a", b"HTTP/1.1 200 OK\r\n", b""]
)
async def test_a_part_of_a_head_is_no_answer(part: bytes) -> None:
    """The service, or a proxy before it, may have died as it began to answer."""
    with pytest.raises(RequestFailed, match="no complete HTTP answer"):
        await _asked(part, body=b"{}")


@pytest.mark.asyncio
async def test_an_address_that_is_not_allowed_is_not_connected_to() -> None:
    came = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        for host in ("127.0.0.1", "localhost"):
            with pytest.raises(RequestFailed, match="may not be asked"):
                await ask("POST", f"http://{host}:{port}/", within=PATIENCE, headers={}, allowed=is_public)
        assert not came.is_set()
        with pytest.raises(RequestFailed):
            await ask("POST", f"http://localhost:{port}/", within=PATIENCE, headers={}, allowed=lambda _: True)
        assert came.is_set()


@pytest.mark.asyncio
async def test_a_name_that_is_none_is_a_failure() -> None:
    for host in ("name.invalid", "a" * 70):
        with pytest.raises(RequestFailed):
            await ask("POST", f"http://{host}/", within=PATIENCE, headers={}, allowed=is_public)


@pytest.mark.asyncio
async def test_over_tls_the_name_is_proven_though_an_address_was_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The certificate is of 127.0.0.1: `localhost`, which leads there, is not in it."""
    path = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    outgoing_http._tls.cache_clear()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        options: Any = {"within": PATIENCE, "headers": {}, "allowed": lambda _: True}
        assert (await ask("POST", f"https://127.0.0.1:{port}/", **options)).status == 204
        with pytest.raises(RequestFailed, match=r"CERTIFICATE_VERIFY_FAILED|doesn't match|mismatch"):
            await ask("POST", f"https://localhost:{port}/", **options)
    outgoing_http._tls.cache_clear()
