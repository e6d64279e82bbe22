"""Plain HTTP through our server, and the beginnings of connections: never for ever."""

import contextlib
import json
import socket
import time

import pytest

from flotilla.realtime.server.factory import MAX_UNDECIDED_OVER_TLS
from tests.cluster.support.generic_server import MAX_SECONDS, Raw, Server, close, upgrade
from tests.cluster.support.processes import eventually
from tests.raw_frames import TEXT, frame

GET = b"GET /generic/any HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
POST = b"POST /generic/any HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n\r\nhello"


def answered(client: Raw) -> dict[str, str]:
    """The JSON of a response that must be a success."""
    status, body = client.response()
    assert status == 200
    found: dict[str, str] = json.loads(body)
    return found


@pytest.mark.parametrize("tls", [False, True])
def test_requests_one_after_another(server: Server, tls: bool) -> None:
    with Raw(server.tls_port if tls else server.port, tls=tls) as client:
        for data, method, body in ((GET, "GET", ""), (POST, "POST", "hello"), (GET, "GET", "")):
            client.send(data)
            assert answered(client) == {"method": method, "path": "/generic/any", "body": body}


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    with Raw(server.port) as client:
        client.send(GET + POST + GET)
        assert [answered(client)["method"] for _ in range(3)] == ["GET", "POST", "GET"]


def test_a_body_in_chunks(server: Server) -> None:
    with Raw(server.port) as client:
        client.send(
            b"POST /generic/any HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        )
        assert answered(client)["body"] == "hello"


@pytest.mark.parametrize("tls", [False, True])
def test_an_upgrade_behind_plain_requests(server: Server, tls: bool) -> None:
    """On the same connection, with everything a WebSocket can do."""
    with Raw(server.tls_port if tls else server.port, tls=tls) as client:
        client.send(GET + POST)
        for _ in range(2):
            answered(client)
        client.open("/generic/echo")
        big = b"x" * 60_000
        for text in (b"hi", big):
            client.send(frame(TEXT, text))
            assert client.frame() == (TEXT, text)
        for _ in range(100):  # more than any buffer on the way holds, before anything is read
            client.send(frame(TEXT, big))
        assert [client.frame() for _ in range(100)] == [(TEXT, big)] * 100
        client.send(close(4000))
        began = time.monotonic()
        assert client.rest().endswith(b"\x0f\xa0")
        assert time.monotonic() - began < 1.5, "the end was waited for until it was cut off"


def test_an_upgrade_behind_a_plain_request_that_did_not_wait(server: Server) -> None:
    with Raw(server.port) as client:
        client.send(GET + upgrade())
        answered(client)
        assert client.head().startswith(b"HTTP/1.1 101 ")
        client.send(frame(TEXT, b"hi"))
        assert client.frame() == (TEXT, b"hi")


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("data", [GET, upgrade()])
def test_a_head_may_come_byte_by_byte(server: Server, data: bytes, tls: bool) -> None:
    with Raw(server.tls_port if tls else server.port, tls=tls) as client:
        for position in range(len(data)):
            client.send(data[position : position + 1])
        assert client.head().startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 101 "))


@pytest.mark.parametrize("kind", ["Cookie: ", "Upgrade: websocket\r\nCookie: "])
def test_a_head_without_end_is_refused(server: Server, kind: str) -> None:
    with Raw(server.port) as client:
        client.send(f"GET /generic/any HTTP/1.1\r\nHost: a\r\n{kind}{'x' * 33 * 1024}\r\n\r\n".encode())
        status, _ = client.response()
        assert status == 431


def test_a_long_head_of_a_handshake_is_no_hindrance(server: Server) -> None:
    with Raw(server.port) as client:
        client.open("/generic/echo", f"Cookie: {'x' * 20_000}")
        client.send(frame(TEXT, b"hi"))
        assert client.frame() == (TEXT, b"hi")


@pytest.mark.parametrize(
    ("data", "statuses"),
    [
        (b"\0\1\2\3\r\n\r\n", {0, 400}),
        (b"GET\r\n\r\n", {0, 400}),
        (b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", {0, 400, 505}),
        (upgrade().replace(b"Version: 13", b"Version: 8"), {426}),
        (upgrade().replace(b"Connection: Upgrade", b"Connection: close"), {426}),
        (upgrade().replace(b"GET", b"POST"), {0, 400, 405}),
    ],
)
def test_nonsense_is_answered_and_closed(server: Server, data: bytes, statuses: set[int]) -> None:
    with Raw(server.port) as client:
        client.send(data)
        status, _ = client.response()
        assert status in statuses
        assert client.rest() == b""


def test_silence_is_cut_off(server: Server) -> None:
    """All of them at once, for each takes as long as a client has for its head."""
    silent = [(data, tls) for data in (b"", b"GE", upgrade()[:-2]) for tls in (False, True)]
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Raw(server.tls_port if tls else server.port, tls=tls)) for _, tls in silent]
        for client, (data, _) in zip(clients, silent, strict=True):
            client.send(data)
        assert [client.rest() for client in clients] == [b""] * len(silent)


async def test_connections_that_say_nothing_over_tls_are_few(server: Server) -> None:
    """Each of them holds what a handshake needs. The oldest goes, so a client that comes now is answered."""
    with contextlib.ExitStack() as stack:
        for _ in range(MAX_UNDECIDED_OVER_TLS + 50):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.tls_port)))
        await eventually(lambda: server.ask("census")["undecided"] >= MAX_UNDECIDED_OVER_TLS, "they were accepted")
        assert server.ask("census")["undecided"] <= MAX_UNDECIDED_OVER_TLS + 1  # the one that asks
        with Raw(server.tls_port, tls=True) as client:
            client.send(GET)
            assert client.response()[0] == 200


@pytest.mark.parametrize("data", [b"", b"GET /", GET, upgrade(), upgrade()[:-2]])
async def test_half_closed_connections_end(server: Server, data: bytes) -> None:
    """A client that will say nothing more is gone."""
    with Raw(server.port) as client:
        client.send(data)
        client.socket.shutdown(1)
        client.rest()
    await eventually(lambda: server.ask("census")["undecided"] <= 1, "it is forgotten", MAX_SECONDS)
    assert not server.ask("census")["websockets"]


def test_http2_is_not_spoken_here(server: Server) -> None:
    with Raw(server.port) as client:
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        status, _ = client.response()
        assert status in (0, 400, 505)
    assert server.ask("any")["method"] == "GET"


def test_an_upgrade_to_something_else_stays_http(server: Server) -> None:
    with Raw(server.port) as client:
        client.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nX-Note: websocket\r\n\r\n"))
        assert answered(client)["method"] == "GET"
