"""Instances behind the real nginx with `deploy/nginx.conf`: what clients get, and what instances are told of them."""

import asyncio
import json
import ssl
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.support.generic_server import Raw, Server, self_signed
from tests.cluster.support.harness import environment, migrate
from tests.cluster.support.moving_members import Member
from tests.cluster.support.nginx import Nginx, binary
from tests.cluster.support.processes import a_redis, eventually
from tests.cluster.support.publisher import Publisher
from tests.cluster.support.raw_client import RawClient
from tests.cluster.support.subscribers import CONFIG, Faults

MEBIBYTE = 1 << 20
LIES = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example.com",
    "X-Forwarded-Port": "1",
    "X-Real-IP": "203.0.113.9",
    "Forwarded": "for=203.0.113.9",
    "Daphne-Root-Path": "/elsewhere",
}


@pytest.fixture(scope="session", autouse=True)
def nginx_binary() -> None:
    if not binary():
        pytest.skip("no nginx on the PATH")


# What an instance is told


@asynccontextmanager
async def recorded(home: Path, **nginx: Any) -> AsyncIterator[tuple[Nginx, list[bytes]]]:
    """nginx before a server that keeps the heads it gets and answers each with 204."""
    heads: list[bytes] = []
    open_ones: set[asyncio.StreamWriter] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ones.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                heads.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        open_ones.discard(writer)

    server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=MEBIBYTE)
    made = Nginx(home, server.sockets[0].getsockname()[1], **nginx)
    try:
        await asyncio.to_thread(made.start)
        yield made, heads
    finally:
        await asyncio.to_thread(made.stop)
        await eventually(lambda: not open_ones, "nginx has closed its connections")
        server.close()


def headers(head: bytes) -> dict[str, str]:
    """The headers of a head by their lower-case names; none may be there twice."""
    pairs = [line.split(": ", 1) for line in head.decode().split("\r\n")[1:] if line]
    found = {name.lower(): value for name, value in pairs}
    assert len(found) == len(pairs), head
    return found


def ask(port: int, *lines: str, tls: bool = False) -> tuple[int, bytes]:
    """Send a head; gives the status and body of the answer."""
    with Raw(port, tls=tls) as client:
        client.send("\r\n".join((*lines, "Connection: close", "", "")).encode())
        return client.response()


async def test_instance_is_told_who_the_client_is_by_nginx_alone(tmp_path: Path) -> None:
    async with recorded(tmp_path) as (nginx, heads):
        lies = [f"{name}: {value}" for name, value in LIES.items()]
        await asyncio.to_thread(ask, nginx.port, "GET /a/../b?c=%2F HTTP/1.1", "Host: site:81", "Upgrade: h2c", *lies)
    assert heads[0].startswith(b"GET /a/../b?c=%2F HTTP/1.1\r\n")
    assert headers(heads[0]) == {"host": "site:81", "x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "http"}


async def test_connection_to_an_instance_is_kept(tmp_path: Path) -> None:
    async with recorded(tmp_path) as (nginx, heads):
        for number in range(20):
            assert (await asyncio.to_thread(ask, nginx.port, f"GET /{number} HTTP/1.1", "Host: site"))[0] == 204
    assert not any("connection" in headers(head) for head in heads)


async def test_handshake_is_passed_on_and_tls_is_said(tmp_path: Path) -> None:
    async with recorded(tmp_path, certificate=self_signed(tmp_path)) as (nginx, heads):
        lines = ("GET /connection/websocket HTTP/1.1", "Host: site", "Upgrade: WebSocket", "X-Forwarded-Proto: http")
        await asyncio.to_thread(ask, nginx.tls_port, *lines, tls=True)
        status, _ = await asyncio.to_thread(ask, nginx.port, "GET /connection/websocket HTTP/1.1", "Host: site")
    told = headers(heads[0])
    assert (told["upgrade"], told["connection"], told["x-forwarded-proto"]) == ("websocket", "upgrade", "https")
    assert status == 308 and len(heads) == 1


async def test_head_that_an_instance_would_take_is_passed_on_and_a_larger_one_is_431(tmp_path: Path) -> None:
    async with recorded(tmp_path) as (nginx, heads):
        for size, expected in ((30_000, 204), (40_000, 431)):
            cookie = f"Cookie: a={'a' * size}"
            status, _ = await asyncio.to_thread(ask, nginx.port, "GET / HTTP/1.1", "Host: site", cookie)
            assert status == expected
    assert len(heads) == 1


async def test_body_beyond_the_bound_is_refused_at_its_head(tmp_path: Path) -> None:
    async with recorded(tmp_path) as (nginx, heads):
        length = f"Content-Length: {11 * MEBIBYTE}"
        status, _ = await asyncio.to_thread(ask, nginx.port, "POST / HTTP/1.1", "Host: site", length)
    assert status == 413 and heads == []


# What a client gets


class Below(Server):
    """An instance whose site lies below a path."""

    PATH = "/live"

    @property
    def http(self) -> str:
        return super().http + self.PATH


class Site:
    """A Redis, two instances on it, and nginx before them. `path`: where the site lies."""

    def __init__(self, home: Path, path: str = "/") -> None:
        self.redis = a_redis(home, "everysec")
        self._env = environment(home, self.redis.url, CONFIG, RATE_LIMIT_TRUSTED_PROXIES="127.0.0.1")
        kind, options = (Server, []) if path == "/" else (Below, ["--root-path", Below.PATH])
        self.instances = [kind(f"web-{number}", home, self._env, *options) for number in (1, 2)]
        self.nginx = Nginx(home, *(one.port for one in self.instances), path=path)

    def start(self) -> None:
        """Start everything and wait until it is ready."""
        self.redis.start()
        migrate(self._env)
        for one in self.instances:
            one.launch()
        for one in self.instances:
            one.wait_ready()
        self.nginx.start()


@contextmanager
def running(site: Site) -> Iterator[Site]:
    with ExitStack() as until:
        for process in (site.redis, *site.instances, site.nginx):
            until.callback(process.stop)
        site.start()
        yield site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """For tests that do it no harm."""
    with running(Site(tmp_path_factory.mktemp("nginx"))) as made:
        yield made


async def test_clients_are_spread_and_hear_each_other(site: Site) -> None:
    async with AsyncExitStack() as until:
        clients = [await until.enter_async_context(RawClient(site.nginx.url)) for _ in range(8)]
        names = [(await client.connect())["data"]["instance"] for client in clients]
        assert sorted(names) == ["web-1"] * 4 + ["web-2"] * 4
        for client in clients:
            await client.subscribe("proof:all")
        await asyncio.to_thread(published, site.nginx.http, "proof:all", "hello")
        for client in clients:
            await client.wait(lambda message: bool(message.get("push", {}).get("pub")), "a publication")


async def test_client_over_tls_is_served(site: Site, tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    nginx = Nginx(tmp_path, *(one.port for one in site.instances), certificate=certificate)
    trusting = ssl.create_default_context(cafile=f"{certificate}.crt")
    try:
        await asyncio.to_thread(nginx.start)
        url = f"wss://127.0.0.1:{nginx.tls_port}/connection/websocket"
        async with RawClient(url, ssl=trusting) as client:
            assert (await client.connect())["client"]
    finally:
        nginx.stop()


def test_client_cannot_say_that_it_has_another_address(site: Site) -> None:
    """The view lets three requests a minute through for each address."""
    answers = [
        ask(site.nginx.port, "GET /decorated HTTP/1.1", "Host: 127.0.0.1", f"X-Forwarded-For: 203.0.113.{number}")[0]
        for number in range(5)
    ]
    assert answers == [200] * 3 + [429] * 2


def test_upload_of_two_megabytes_arrives_whole(site: Site) -> None:
    body = b"0123456789abcdef" * (2 * MEBIBYTE // 16)
    request = urllib.request.Request(f"{site.nginx.http}/generic/any", body, {"Content-Type": "text/plain"})
    with urllib.request.urlopen(request, timeout=30) as response:
        assert json.load(response)["body"] == body.decode()


def published(http: str, channel: str, data: Any) -> None:
    """Publish over the HTTP API."""
    publisher = Publisher(http, [channel], 1)
    publisher._publish(range(1))
    assert publisher.errors == []


async def test_site_below_a_path_is_served_there(tmp_path: Path) -> None:
    with running(Site(tmp_path, f"{Below.PATH}/")) as site:
        assert ask(site.nginx.port, "GET /live/health/live HTTP/1.1", "Host: 127.0.0.1")[0] == 200
        assert ask(site.nginx.port, "GET /health/live HTTP/1.1", "Host: 127.0.0.1")[0] == 404
        _, page = ask(site.nginx.port, "GET /live/admin/login/ HTTP/1.1", "Host: 127.0.0.1")
        assert b'action="/live/admin/login/"' in page
        async with RawClient(site.nginx.url) as client:
            assert (await client.connect())["client"]


# An instance that goes


class Asker:
    """Asks for a page again and again, over connections of its own, and keeps what is not a 200."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.asked = 0
        self.faults: list[int] = []
        self.enough = False

    async def run(self) -> None:
        while not self.enough:
            status, _ = await asyncio.to_thread(ask, self.port, "GET /health/live HTTP/1.1", "Host: 127.0.0.1")
            self.asked += 1
            if status != 200:
                self.faults.append(status)


async def goes(site: Site, how: str) -> tuple[list[Member], Publisher, Asker]:
    """Take the first instance from under 40 clients and 40 publications a second; returns when all have everything."""
    rooms = ["proof:one", "proof:two"]
    crowd = [Member(site.nginx.url, rooms[number % 2]) for number in range(40)]
    publisher, asker = Publisher(site.nginx.http, rooms, 40), Asker(site.nginx.port)
    staying = [asyncio.create_task(member.run()) for member in crowd]
    try:
        for member in crowd:
            await asyncio.wait_for(member.ready.wait(), 60)
        busy = [asyncio.create_task(one.run()) for one in (publisher, asker)]
        await eventually(lambda: all(member.top for member in crowd), "everybody was reached", 60)
        there = [member for member in crowd if member._at == "web-1"]
        await asyncio.to_thread(getattr(site.instances[0], how))
        await eventually(lambda: all(member.moves for member in there), "those who were there are at the other", 60)
        asked = asker.asked
        await eventually(lambda: asker.asked > asked + 5, "pages are still asked for", 60)
        publisher.enough = asker.enough = True
        await asyncio.gather(*busy)
        total = publisher.published
        await eventually(lambda: all(member.top >= total[member.room] for member in crowd), "everybody has all", 60)
    finally:
        for task in staying:
            task.cancel()
        await asyncio.gather(*staying, return_exceptions=True)
    assert len(there) == 20 and {move.to for member in there for move in member.moves} == {"web-2"}
    return crowd, publisher, asker


def faults(crowd: list[Member], publisher: Publisher) -> Faults:
    """What was lost, doubled or disordered."""
    found = Faults()
    for member in crowd:
        found.count(member.offsets, publisher.published[member.room])
    return found


@pytest.mark.timeout(240)
async def test_instance_that_is_stopped_under_load_loses_nothing(tmp_path: Path) -> None:
    with running(Site(tmp_path)) as site:
        crowd, publisher, asker = await goes(site, "stop")
    assert faults(crowd, publisher) == Faults() and not any(member.unrecovered for member in crowd)
    assert [error for member in crowd for error in member.errors] == []
    assert asker.faults == []
    assert [error for error in publisher.errors if "'temporary': True" not in error] == []  # those are to be repeated


@pytest.mark.timeout(240)
async def test_instance_that_is_killed_under_load_loses_nothing_that_clients_do_not_recover(tmp_path: Path) -> None:
    with running(Site(tmp_path)) as site:
        crowd, publisher, asker = await goes(site, "kill")
    assert faults(crowd, publisher) == Faults() and not any(member.unrecovered for member in crowd)
    assert asker.faults == []
