"""Fetching a key set from real servers: what is taken, what is refused, and that nothing takes longer than its time."""

import asyncio
import datetime
import socket
import ssl
import time
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from flotilla.realtime import outgoing_http
from flotilla.realtime.access.jwks_fetch import MAX_BYTES, FetchFailed, fetch
from flotilla.realtime.token_settings import fault_of_url
from tests.realtime.access.issuers import private, private_pem, published


@pytest.fixture
def site() -> Any:
    with published() as made:
        yield made


async def failure(url: str, **options: Any) -> str:
    with pytest.raises(FetchFailed) as caught:
        await fetch(url, **options)
    return str(caught.value)


async def test_the_body_comes_as_it_is(site: Any) -> None:
    site.serve(b'{"keys":[]}')
    assert await fetch(f"{site.url}?tenant=a%20b") == b'{"keys":[]}'
    assert site.asked == ["/keys?tenant=a%20b"]


def chunked(*pieces: bytes, end: bytes = b"0\r\n\r\n") -> Any:
    def answer(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for piece in pieces:
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        handler.wfile.write(end)

    return answer


async def test_a_body_may_come_in_chunks(site: Any) -> None:
    site.answer = chunked(b'{"ke', b'ys":', b"[]}")
    assert await fetch(site.url) == b'{"keys":[]}'


async def test_a_body_may_end_with_the_connection(site: Any) -> None:
    def answer(handler: Any) -> None:
        handler.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n{}")

    site.answer = answer
    assert await fetch(site.url) == b"{}"


async def test_a_body_that_broke_off_is_none(site: Any) -> None:
    site.answer = chunked(b'{"keys":[]}', end=b"")
    assert "complete" in await failure(site.url)

    def short(handler: Any) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}")

    site.answer = short
    assert "complete" in await failure(site.url)


@pytest.mark.parametrize("answer", [b"", b"\0\0\0", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 500])
async def test_what_is_no_http_is_refused(site: Any, answer: bytes) -> None:
    site.answer = lambda handler: handler.wfile.write(answer)
    assert await failure(site.url)


@pytest.mark.parametrize("status", [204, 206, 301, 302, 307, 308, 400, 401, 404, 429, 500, 503])
async def test_only_200_is_an_answer_and_redirects_are_not_followed(site: Any, status: int) -> None:
    with published() as elsewhere:
        elsewhere.serve(b'{"keys":[]}')
        site.serve(b'{"keys":[]}' if status != 204 else b"", status, Location=elsewhere.url)
        said = await failure(site.url)
        assert str(status) in said
        assert ("redirects are not followed" in said) is (300 <= status < 400)
        assert elsewhere.asked == []


async def test_a_document_has_a_bound(site: Any) -> None:
    site.serve(b" " * MAX_BYTES)
    assert len(await fetch(site.url)) == MAX_BYTES
    site.serve(b" " * (MAX_BYTES + 1))
    assert "more than" in await failure(site.url)
    site.answer = chunked(*[b" " * 65536] * 5)
    assert await failure(site.url)


async def test_an_answer_without_end_is_cut_off(site: Any) -> None:
    """Whatever it says of its length."""
    sent = 0

    def endless(handler: Any) -> None:
        nonlocal sent
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)  # else megabytes wait in the kernel
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        while True:
            handler.wfile.write(b" " * 65536)
            sent += 65536

    site.answer = endless
    assert "too large" in await failure(site.url, within=30)
    assert sent < 20 * MAX_BYTES


async def test_drops_do_not_prolong_the_time(site: Any) -> None:
    """The time is for all of it: a byte now and then does not begin it anew."""

    def dripping(handler: Any) -> None:
        for letter in b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" * 50:
            handler.wfile.write(bytes([letter]))
            time.sleep(0.05)

    site.answer = dripping
    began = time.monotonic()
    assert "0.5 s" in await failure(site.url, within=0.5)
    assert time.monotonic() - began < 20  # it would have gone on for more than 90


async def test_silence_ends(site: Any) -> None:
    site.answer = lambda handler: time.sleep(30)
    assert "no complete answer within 0.3 s" in await failure(site.url, within=0.3)


async def test_nobody_there_is_a_failure() -> None:
    assert "ConnectionRefusedError" in await failure("http://127.0.0.1:9/keys")


async def test_a_name_that_is_none_is_a_failure() -> None:
    assert await failure("https://no-such-name.invalid/keys")


async def test_a_url_over_plain_http_is_not_asked() -> None:
    assert "https" in await failure("http://issuer.example/keys")


def certificate(folder: Path) -> Path:
    """Of 127.0.0.1, signed by itself, with its key."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer of the tests")])
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    builder = (
        x509.CertificateBuilder(name, name, private("p256").public_key(), 7, now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    made = builder.sign(private("p256"), hashes.SHA256()).public_bytes(Encoding.PEM).decode()
    path = folder / "issuer.pem"
    path.write_text(made + private_pem("p256"))
    return path


@pytest.fixture
def secure_site(tmp_path: Path) -> Any:
    path = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    with published() as made:
        made._server.socket = context.wrap_socket(made._server.socket, server_side=True)
        made.serve(b'{"keys":[]}')
        yield made, path


async def test_an_issuer_must_prove_who_it_is(secure_site: Any, monkeypatch: Any) -> None:
    """With a certificate of an authority that this machine trusts."""
    made, path = secure_site
    url = made.url.replace("http:", "https:")
    outgoing_http._tls.cache_clear()
    assert "CERTIFICATE_VERIFY_FAILED" in await failure(url, within=30)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    outgoing_http._tls.cache_clear()
    assert await fetch(url, within=30) == b'{"keys":[]}'
    assert await failure(url.replace("127.0.0.1", "localhost"), within=30)  # a name that is not in it
    outgoing_http._tls.cache_clear()


async def test_a_waiter_that_goes_leaves_no_connection(site: Any) -> None:
    site.answer = lambda handler: time.sleep(30)
    task = asyncio.ensure_future(fetch(site.url, within=30))
    while not site.asked:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


GOOD = [
    "https://example.com/keys",
    "https://example.com:8443/a?b=c",
    "http://127.0.0.1:8000/keys",
    "http://127.9.9.9/",
    "http://localhost/keys",
    "http://[::1]:80/keys",
]
BAD = [
    "http://example.com/keys",
    "http://localhost.example.com/",
    "http://127.0.0.1.example.com/",
    "http://10.0.0.1/keys",
    "http://[::2]/",
    "http://127.0.0.1@example.com/",
    "ftp://example.com/keys",
    "file:///etc/keys",
    "example.com/keys",
    "//example.com/keys",
    "https://",
    "https:///keys",
    "https://user:secret@example.com/",
    "https://example.com:99999/",
    "https://example.com/a b",
    "https://example.com/\r\nHost: evil",
    "https://exämple.com/",
    "https://[::1/",
]


@pytest.mark.parametrize("url", GOOD)
def test_https_and_this_machine_may_be_asked(url: str) -> None:
    assert fault_of_url(url) == ""


@pytest.mark.parametrize("url", BAD)
def test_other_urls_are_refused(url: str) -> None:
    fault = fault_of_url(url)
    assert fault
    assert "secret" not in fault
