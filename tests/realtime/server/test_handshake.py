"""The opening handshake: what is proper is read as it came, what is not is refused with a reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.uri import parse_uri

from flotilla.realtime.server import handshake
from flotilla.realtime.server.handshake import Refused, acceptance, read, refusal
from flotilla.realtime.server.head import _FRAMING, HeadReader

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
LINES = {
    "host": b"Host: example.com",
    "upgrade": b"Upgrade: websocket",
    "connection": b"Connection: keep-alive, Upgrade",
    "version": b"Sec-WebSocket-Version: 13",
    "key": b"Sec-WebSocket-Key: " + KEY,
}


def head(start: bytes = b"GET /chat?a=%20b HTTP/1.1", *more: bytes, **changed: bytes | None) -> bytes:
    """A handshake with some of its lines changed or, with None, left out."""
    lines = [line for line in (LINES | changed).values() if line is not None]
    return b"\r\n".join((start, *lines, *more)) + b"\r\n\r\n"


def refused(data: bytes) -> bytes:
    """The response to what is no handshake."""
    with pytest.raises(Refused) as error:
        read(data)
    response: bytes = error.value.response()
    start, _, rest = response.partition(b"\r\n")
    headers, _, body = rest.partition(b"\r\n\r\n")
    assert b"content-length: %d" % len(body) in headers
    assert b"connection: close" in headers
    assert body, "it says why"
    return start


def test_a_request_is_read_as_it_came() -> None:
    request = read(head(b"GET /ch%C3%A4t?a=%20b HTTP/1.1", b"Cookie: a=b;  c=\xe9 ", b"X-Two: 1", b"x-two: 2"))
    assert (request.path, request.query, request.key) == (b"/ch%C3%A4t", b"a=%20b", KEY)
    assert (request.subprotocols, request.rest) == ([], b"")
    assert (b"cookie", b"a=b;  c=\xe9") in [(name, value.strip()) for name, value in request.headers]
    assert [value for name, value in request.headers if name == b"x-two"] == [b"1", b"2"]


def test_what_follows_the_head_is_kept() -> None:
    assert read(head() + b"\x81\x80abcd\r\n\r\n").rest == b"\x81\x80abcd\r\n\r\n"


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/", b"/", b""),
        (b"/a?", b"/a", b""),
        (b"/a?b?c", b"/a", b"b?c"),
        (b"http://example.com/a?b", b"/a", b"b"),
        (b"http://example.com", b"/", b""),
    ],
)
def test_targets(target: bytes, path: bytes, query: bytes) -> None:
    request = read(head(b"GET " + target + b" HTTP/1.1"))
    assert (request.path, request.query) == (path, query)


def test_subprotocols_come_in_order_from_any_number_of_headers() -> None:
    request = read(head(b"GET / HTTP/1.1", b"Sec-WebSocket-Protocol: a, b,,", b"Sec-WebSocket-Protocol: c"))
    assert request.subprotocols == ["a", "b", "c"]


@pytest.mark.parametrize(
    "data",
    [
        head(b"POST / HTTP/1.1"),
        head(b"GET /\xc3\xa4 HTTP/1.1"),
        head(b"GET * HTTP/1.1"),
        head(b"GET / HTTP/1.1", b"Content-Length: 5"),
        head(b"GET / HTTP/1.1", b"Transfer-Encoding: chunked"),
        head(b"nonsense"),
        head(host=None),
        head(host=b"Host: a\r\nHost: b"),
        head(key=None),
        head(key=b"Sec-WebSocket-Key: short"),
        head(key=b"Sec-WebSocket-Key: !!!!IHNhbXBsZSBub25jZQ=="),
        head(key=LINES["key"] + b"\r\n" + LINES["key"]),
        head(b"GET / HTTP/1.1", b"no colon"),
        head(b"GET / HTTP/1.1", b" folded: header"),
        head(b"GET / HTTP/1.1", b"X-Nul: a\0b"),
        head(b"GET / HTTP/1.1", b"Content-Length: 5", b"Transfer-Encoding: chunked"),
        head()[:-2],
    ],
)
def test_what_is_no_proper_handshake_is_refused(data: bytes) -> None:
    assert refused(data).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "data",
    [
        head(upgrade=None),
        head(upgrade=b"Upgrade: h2c"),
        head(b"GET / HTTP/1.0"),
        head(connection=None),
        head(connection=b"Connection: close"),
        head(upgrade=None, connection=b"Connection: close"),
    ],
)
def test_what_a_proxy_takes_away_is_said(data: bytes) -> None:
    """The commonest mistake: a proxy that does not pass the upgrade on, or speaks HTTP/1.0."""
    with pytest.raises(Refused) as error:
        read(data)
    response = error.value.response()
    assert response.startswith(b"HTTP/1.1 426 ")
    assert b"upgrade: websocket\r\n" in response
    assert b"proxy_http_version 1.1" in response


@pytest.mark.parametrize("version", [None, b"Sec-WebSocket-Version: 8", b"Sec-WebSocket-Version: 13, 8"])
def test_other_versions_are_told_ours(version: bytes | None) -> None:
    with pytest.raises(Refused) as error:
        read(head(version=version))
    assert error.value.response().startswith(b"HTTP/1.1 426 ")
    assert b"sec-websocket-version: 13\r\n" in error.value.response()


@given(st.binary(max_size=200))
def test_no_bytes_make_it_fail_otherwise(noise: bytes) -> None:
    for data in (noise, head()[:-2] + noise + b"\r\n\r\n", b"GET " + noise + head()[4:]):
        try:
            read(data)
        except Refused as error:
            assert error.response().startswith(b"HTTP/1.1 4")


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (head(), True),
        (head(upgrade=b"UPGRADE:WebSocket"), True),
        (head(upgrade=None), True),
        (head(upgrade=b"Upgrade: h2c", key=None), False),
        (head(b"GET /websocket HTTP/1.1", upgrade=b"Upgrade: h2c", key=None), False),
        (head(b"GET / HTTP/1.1", b"Cookie: websocket", upgrade=b"Upgrade: h2c", key=None), False),
        (head(upgrade=None, key=None), False),
        (head(upgrade=b"X-Upgrade: websocket", key=None), False),
    ],
)
def test_only_upgrades_to_websocket_are_wanted(data: bytes, wanted: bool) -> None:
    """Also those that a proxy has taken the upgrade from."""
    found = HeadReader().feed(data)
    assert found is not None
    assert found.wants_websocket is wanted


def accepted_by_websockets(response: bytes, request_key: str, subprotocols: list[str]) -> ClientProtocol:
    """Another implementation's client that has read our response."""
    client = ClientProtocol(parse_uri("ws://example.com/"), subprotocols=subprotocols)  # type: ignore[arg-type]
    request = client.connect()
    request.headers["Sec-WebSocket-Key"] = request_key
    client.key = request_key
    client.send_request(request)
    client.receive_data(response)
    return client


def test_the_response_opens_another_implementation_s_client() -> None:
    response = acceptance(KEY, "b", [(b"x-greeting", b"hello"), (b"Upgrade", b"other"), (b"connection", b"close")])
    client = accepted_by_websockets(response, KEY.decode(), ["a", "b"])
    assert client.handshake_exc is None
    assert client.subprotocol == "b"
    assert response.lower().count(b"upgrade: ") == 1
    assert b"\r\nx-greeting: hello\r\n" in response


def test_the_proof_is_that_of_the_rfc() -> None:
    """Section 1.3."""
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in acceptance(KEY, None)


@pytest.mark.parametrize("header", [(b"x", b"a\r\nb: c"), (b"x\ny", b"a"), (b"x", b"a\nb")])
def test_no_header_can_smuggle_in_another(header: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match="one line"):
        acceptance(KEY, None, [header])
    with pytest.raises(ValueError, match="one line"):
        refusal(403, [header])
    with pytest.raises(ValueError, match="one line"):
        acceptance(KEY, "a\r\nb: c")


def test_a_refusal_is_framed_by_us_alone() -> None:
    headers = [(b"Content-Length", b"99"), (b"Transfer-Encoding", b"chunked"), (b"Connection", b"keep-alive")]
    response = refusal(429, [*headers, (b"retry-after", b"1")], b"later")
    assert response == (
        b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\ncontent-length: 5\r\nconnection: close\r\n\r\nlater"
    )


def test_the_names_we_do_not_leave_to_applications_are_ours() -> None:
    assert all(name == name.lower() for name in handshake._NOT_OURS | _FRAMING)
