"""Applications that know nothing of our server, under it: what ASGI promises them holds."""

import json
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.cluster.support.generic_server import MAX_SECONDS, Raw, Server, close, upgrade
from tests.cluster.support.harness import CONFIG, environment
from tests.cluster.support.processes import a_redis, eventually
from tests.raw_frames import TEXT, frame

pytestmark = pytest.mark.asyncio


def opening(server: Server, name: str, scheme: str = "ws", **options: Any) -> connect:
    """A real client's connection to one of the applications."""
    if scheme == "wss":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        options["ssl"] = context
    return connect(server.generic(name, scheme), proxy=None, max_size=None, compression=None, **options)


async def closed(client: ClientConnection) -> tuple[int, str]:
    """Read to the end; the code and the reason of the close."""
    with pytest.raises(ConnectionClosed):
        while True:
            await client.recv()
    assert client.close_code is not None
    return client.close_code, client.close_reason or ""


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_texts_and_binaries_go_both_ways(server: Server, scheme: str) -> None:
    async with opening(server, "echo", scheme, subprotocols=["one", "two"]) as client:
        assert client.subprotocol == "two"
        assert client.response is not None
        assert client.response.headers["x-greeting"] == "hello"
        for message in ("", "é" * 30_000, b"", b"\0" * 65536, "x"):
            await client.send(message)
            assert await client.recv() == message


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_a_close_has_code_and_reason(server: Server, scheme: str) -> None:
    async with opening(server, "echo", scheme) as client:
        await client.send("close 4321 because I say so")
        assert await closed(client) == (4321, "because I say so")
    await eventually(lambda: "echo 4321" in server.ask("state")["ended"], "the application heard of it", MAX_SECONDS)


async def test_an_application_hears_how_its_client_went(server: Server) -> None:
    async with opening(server, "echo") as client:
        await client.close(4111, "bye")
    with Raw(server.port).open() as raw:
        raw.reset()
    await eventually(lambda: {"echo 4111", "echo 1006"} <= set(server.ask("state")["ended"]), "it did", MAX_SECONDS)


@pytest.mark.parametrize(("name", "status"), [("deny", 403), ("silent", 500), ("broken", 500)])
async def test_refused_handshakes(server: Server, name: str, status: int) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await opening(server, name)
    assert refused.value.response.status_code == status


async def test_a_refusal_may_have_a_response_of_its_own(server: Server) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await opening(server, "denial")
    response = refused.value.response
    assert (response.status_code, response.body) == (429, b"come back later")
    assert response.headers["x-why"] == "full"


async def test_failures_are_1011(server: Server) -> None:
    async with opening(server, "echo") as client:
        await client.send("raise")
        assert (await closed(client))[0] == 1011


async def test_an_application_that_returns_is_over(server: Server) -> None:
    async with opening(server, "early") as client:
        assert await client.recv() == "that was all"
        assert (await closed(client))[0] == 1011


async def test_what_asgi_forbids_is_refused_and_harms_nobody(server: Server) -> None:
    async with opening(server, "unruly") as client:
        assert client.response is not None
        assert "x-evil" not in client.response.headers
        refused = "refused"
        assert json.loads(await client.recv()) == [refused, refused, "", *[refused] * 6]
        assert await closed(client) == (4000, "done")
    await eventually(lambda: "unruly" in server.ask("state")["ended"], "it went on to its end", MAX_SECONDS)


async def test_frames_that_do_not_wait_for_the_handshake_are_kept(server: Server) -> None:
    with Raw(server.port) as raw:
        raw.send(upgrade("/generic/tardy") + frame(TEXT, b"one") + frame(TEXT, b"two")[:4])
        raw.send(frame(TEXT, b"two")[4:])
        assert raw.head().startswith(b"HTTP/1.1 101 ")
        raw.send(frame(TEXT, b"three"))
        assert [raw.frame() for _ in range(3)] == [(TEXT, b"one"), (TEXT, b"two"), (TEXT, b"three")]


async def test_a_client_that_leaves_before_the_answer_is_forgotten(server: Server) -> None:
    for data in (upgrade("/generic/tardy"), upgrade("/generic/tardy") + close(1000)):
        with Raw(server.port) as raw:
            raw.send(data)
    await eventually(lambda: not server.ask("census")["websockets"], "nothing is left", MAX_SECONDS)


async def test_a_slow_application_holds_its_client_up_and_goes_on(server: Server) -> None:
    """Some MiB fit into buffers; the rest waits at the client until the application receives again."""
    count, text = 0, "x" * 10_000
    with Raw(server.port).open("/generic/slow") as raw:
        raw.socket.setblocking(False)
        pending = b""
        try:
            while count < 20_000:
                pending = frame(TEXT, f"{count} {text}".encode())
                count += 1
                pending = pending[raw.socket.send(pending) :]
                if pending:
                    break
        except BlockingIOError:
            pass
        assert count < 20_000, "200 MB were taken of a client whose application reads nothing"
        server.ask("go")
        raw.socket.settimeout(MAX_SECONDS)
        raw.socket.sendall(pending + frame(TEXT, f"{count} last".encode()))
        assert raw.frame() == (TEXT, str(count + 1).encode())


@pytest.mark.parametrize("tls", [False, True])
async def test_an_application_waits_for_a_client_that_does_not_read(server: Server, tls: bool) -> None:
    """It wants to send 200 MiB; then everything comes, whole and in order."""
    before = server.ask("state")["flooded"]
    with Raw(server.tls_port if tls else server.port, tls=tls).open("/generic/flood") as raw:
        await eventually(lambda: server.ask("state")["flooded"] > before, "it sends", MAX_SECONDS)
        for _ in range(20):
            server.ask("state")
        assert server.ask("state")["flooded"] - before < 20
        for _ in range(5):
            assert raw.frame() == (2, b"m" * (1 << 20))
    await eventually(lambda: not server.ask("census")["websockets"], "it is gone", MAX_SECONDS)


@pytest.fixture
def mortal(server: Server, tmp_path: Path) -> Iterator[Server]:
    """One that may be ended."""
    redis = a_redis(tmp_path)
    redis.start()
    env = environment(tmp_path, redis.url, CONFIG, DATABASE_URL=server.database, DRAIN_DEADLINE="20", DRAIN_GRACE="0")
    made = Server("mortal", tmp_path, env)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        redis.stop()


async def test_a_drain_tells_every_client(mortal: Server) -> None:
    """Also those of other applications, and does not wait for its deadline."""
    async with opening(mortal, "echo") as client:
        with Raw(mortal.port).open("/generic/slow") as mute:
            mortal.send(signal.SIGTERM)
            assert await closed(client) == (1001, "shutdown")
            assert mute.up_to_close()[-1][1][:2] == b"\x03\xe9"
            assert mortal.wait() == 0
    assert "not everything had ended" not in mortal.tail()
    assert "Traceback" not in mortal.tail(100_000)
    assert "destroyed but it is pending" not in mortal.tail(100_000)


async def test_no_header_moves_the_scope(server: Server) -> None:
    headers = {"X-Forwarded-For": "198.51.100.7", "X_Evil": "1", "Daphne-Root-Path": "/foo%20bar"}
    async with opening(server, "echo", additional_headers=headers) as client:
        await client.send("scope")
        scope = json.loads(await client.recv())
    assert scope["root_path"] == ""
    assert scope["client"][0] == "127.0.0.1"
    assert "x_evil" not in json.dumps(scope).lower()
    assert "daphne-root-path" not in json.dumps(scope).lower()
    assert scope["server"] == ["127.0.0.1", server.port]
