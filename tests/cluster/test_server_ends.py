"""Clients that do not read, and clients that vanish: each costs a bounded something, and that comes back."""

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cluster.support.generic_server import MAX_SECONDS, Raw, Server, close, upgrade
from tests.cluster.support.harness import CONFIG, environment
from tests.cluster.support.processes import a_redis, eventually
from tests.cluster.support.raw_client import token
from tests.raw_frames import CLOSE, TEXT, frame

CONNECTION = "/connection/websocket"
PUBLICATION = "x" * 60_000
ROUNDS = int(os.environ.get("FLOTILLA_TEST_ROUNDS", "400"))  # connections of each kind; `make test-long` makes more


def command(id: int, **what: Any) -> bytes:
    """A command's frame."""
    return frame(TEXT, json.dumps({"id": id, **what}).encode())


def connected(client: Raw, user: str, channel: str) -> Raw:
    """Have a client connect and subscribe."""
    client.open(CONNECTION)
    client.send(command(1, connect={"token": token(user)}))
    assert b'"connect"' in (client.frame() or (0, b""))[1]
    client.send(command(2, subscribe={"channel": channel}))
    while b'"id":2' not in (client.frame() or (0, b'"id":2'))[1]:
        pass
    return client


@pytest.mark.parametrize("tls", [False, True])
async def test_a_client_that_never_reads_is_dropped_and_its_memory_comes_back(server: Server, tls: bool) -> None:
    """3008 at the bound of 1 MiB for each; one that reads gets everything meanwhile."""
    channel, port = f"bare:unread-{tls}", server.tls_port if tls else server.port
    process = psutil.Process(server.pid)
    with contextlib.ExitStack() as stack:
        reader = connected(stack.enter_context(Raw(server.port)), "reads", channel)
        warm = process.memory_info().rss
        for number in range(20):
            connected(stack.enter_context(Raw(port, tls, receive_buffer=4096)), f"mute{number}", channel)
        before, most = server.ask("census")["sessions"], 0
        for number in range(3, 203):
            reader.send(command(number, publish={"channel": channel, "data": PUBLICATION}))
            while f'"id":{number}'.encode() not in (one := reader.frame() or (CLOSE, b""))[1]:
                assert one[0] == TEXT
            most = max(most, process.memory_info().rss)
        assert before >= 21
        await eventually(lambda: server.ask("census")["sessions"] == 1, "those that do not read are gone", MAX_SECONDS)
        # 20 clients with 1 MiB and one message each, twice where TLS encrypts it for each; 240 MB were sent to them.
        assert most - warm < 80 * 2**20
    await eventually(lambda: process.memory_info().rss - warm < 30 * 2**20, "their memory is back", MAX_SECONDS)


def leave_at_once(client: Raw) -> None:
    """Nothing was said."""


def leave_after_a_part(client: Raw) -> None:
    client.send(upgrade()[:50])


def leave_unanswered(client: Raw) -> None:
    client.send(upgrade("/generic/tardy"))


def leave_refused(client: Raw) -> None:
    client.send(upgrade("/generic/deny"))
    client.head()


def leave_improper(client: Raw) -> None:
    client.send(upgrade().replace(b": 13", b": 8"))


def leave_generic(client: Raw) -> None:
    client.open().send(frame(TEXT, b"hi") + frame(TEXT, b"part")[:5])


def leave_unread(client: Raw) -> None:
    """A client that closes in order, but has not read what was sent."""
    client.open().send(frame(TEXT, b"x" * 1000) * 20 + close(1000))


def leave_session(client: Raw) -> None:
    client.open(CONNECTION).send(command(1, connect={"token": token("leaves")}))
    client.frame()


def leave_unconnected(client: Raw) -> None:
    client.open(CONNECTION)


def leave_violating(client: Raw) -> None:
    client.open(CONNECTION).send(frame(3) * 3)


def leave_http(client: Raw) -> None:
    client.send(b"GET /generic/any HTTP/1.1\r\nHost: a\r\n\r\n")
    client.head()


WAYS = (
    leave_at_once,
    leave_after_a_part,
    leave_unanswered,
    leave_refused,
    leave_improper,
    leave_generic,
    leave_unread,
    leave_session,
    leave_unconnected,
    leave_violating,
    leave_http,
)


def left(server: Server) -> dict[str, int]:
    """What the server still holds, but for the connection that asks."""
    found: dict[str, int] = server.ask("census")
    return {name: count for name, count in found.items() if count}


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
@pytest.mark.parametrize("way", WAYS)
async def test_nothing_is_left_of_clients_that_vanish(server: Server, way: Callable[[Raw], None], tls: bool) -> None:
    """Half of them with a reset."""

    def vanish(number: int) -> None:
        with Raw(server.tls_port if tls else server.port, tls) as client:
            way(client)
            if number % 2:
                client.reset()

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(vanish, range(ROUNDS // 20 if tls else ROUNDS)))
    await eventually(lambda: not left(server), f"nothing is left of them: {left(server)}", MAX_SECONDS)


@pytest.fixture(scope="module")
def proxied(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that believes its proxy."""
    home: Path = tmp_path_factory.mktemp("proxied")
    redis = a_redis(home)
    redis.start()
    env = environment(home, redis.url, CONFIG, DATABASE_URL=server.database)
    made = Server("proxied", home, env, "--proxy-headers")
    try:
        made.start()
        yield made
    finally:
        made.stop()
        redis.stop()


def test_a_proxy_says_who_connects(proxied: Server) -> None:
    lines = ("X-Forwarded-For: 198.51.100.7, 10.0.0.1", "X-Forwarded-Port: 99", "X-Forwarded-Proto: https")
    with Raw(proxied.port).open("/generic/echo", *lines) as client:
        client.send(frame(TEXT, b"scope"))
        scope = json.loads((client.frame() or (0, b""))[1])
    assert scope["client"] == ["198.51.100.7", 99]


def test_a_proxy_s_nonsense_is_refused(proxied: Server) -> None:
    with Raw(proxied.port) as client:
        client.send(upgrade("/generic/echo", "X-Forwarded-For: \xff\xfe"))
        assert client.response()[0] == 400
        assert client.rest() == b""


def test_a_client_that_sends_for_ever_after_a_violation_costs_nothing(server: Server) -> None:
    process = psutil.Process(server.pid)
    with Raw(server.port).open() as client:
        before = process.memory_info().rss
        client.send(frame(3))
        client.socket.settimeout(MAX_SECONDS)
        sent = 0
        with contextlib.suppress(ConnectionError, socket.timeout):
            while sent < 300 * 2**20:
                sent += client.socket.send(b"\xff" * (1 << 20))
        assert process.memory_info().rss - before < 30 * 2**20
