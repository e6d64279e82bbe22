"""`manage.py serve` in a project that is not ours: it runs what ASGI_APPLICATION names, says what is there, and what is
missing. The project's own consumer has its own bounds on our server.
"""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import websockets

from tests.cluster.support.foreign_project import Project, Serving
from tests.cluster.support.processes import READY_WITHIN, eventually, wait_until
from tests.cluster.support.raw_client import RawClient

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(180)]

SERVE = "{manage} serve --instances 1 --host 127.0.0.1 --port {port}"
LAST = "Ctrl-C ends everything"

Make = Callable[..., Serving]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes a project, with what its `asgi.py` calls `app`, and the command that serves it; starts its Redis."""
    with ExitStack() as stack:

        def made(command: str = SERVE, app: str = "application", **more: Any) -> Serving:
            project = Project(tmp_path, **more)
            if app != "application":
                settings = tmp_path / "mysite" / "settings.py"
                settings.write_text(settings.read_text().replace("mysite.asgi.application", app))
            project.start()
            stack.callback(project.stop)
            server = Serving("server", project, command)
            stack.callback(server.stop)
            return server

        yield made


def greeted(server: Serving) -> list[str]:
    """What it says when it serves."""
    server.launch()
    wait_until(lambda: not server.running or LAST in server.said(), "it has greeted")
    assert server.running, server.tail()
    return [line.removeprefix("[flotilla] ") for line in server.said().splitlines() if line.startswith("[flotilla]")]


def refused(server: Serving) -> str:
    """What it says when it does not start."""
    server.launch()
    assert server.wait(READY_WITHIN) == 1
    return server.said()


async def test_it_greets_with_what_is_there(make: Make) -> None:
    """This project has no page at its root, and no admin."""
    server = make()
    assert greeted(server) == [
        f"1 instance serves {server.http}",
        f"  API      {server.http}/api/openapi.json",
        f"  client   {server.url}",
        f"  health   {server.http}/health/ready",
        f"  metrics  http://127.0.0.1:{server.metrics_port}/metrics",
        f"  {LAST}",
    ]
    assert server.nodes() == {"site-0"}


async def test_all_of_it_is_below_a_root_path(make: Make) -> None:
    server = make(f"{SERVE} --root-path /real/time")
    said = greeted(server)
    assert f"  API      {server.http}/real/time/api/openapi.json" in said
    assert f"  client   {server.ws}/real/time/connection/websocket" in said
    assert server.get("/real/time/hello/") == (200, "hello")
    assert server.status("/real/time/health/ready") == server.status("/health/ready") == 200
    assert server.status("/real/time/connection/websocket") == 426
    assert server.get("/real/time/api/info", {})[0] == 200
    async with RawClient(f"{server.ws}/real/time/connection/websocket") as client:
        await client.connect("ann")
    async with websockets.connect(f"{server.ws}/real/time/ws/chat/", proxy=None) as socket:
        await socket.send("x")
        assert json.loads(await socket.recv()) == {"got": 1}


async def test_a_router_of_protocols_may_be_given(make: Make) -> None:
    server = make(app="mysite.asgi.as_router")
    greeted(server)
    async with RawClient(server.url) as client, websockets.connect(f"{server.ws}/ws/chat/", proxy=None) as socket:
        await client.connect("ann")
        await socket.send("x")
        assert json.loads(await socket.recv()) == {"got": 1}


async def test_sockets_that_nobody_serves_are_refused_with_a_word(make: Make) -> None:
    server = make(app="mysite.asgi.without_websocket")
    greeted(server)
    with pytest.raises(websockets.InvalidStatus) as refusal:
        async with websockets.connect(f"{server.ws}/ws/chat/", proxy=None):
            pass
    assert refusal.value.response.status_code == 404
    await eventually(lambda: "a WebSocket for /ws/chat/ was refused" in server.said(), "the log says it")
    assert "websocket=URLRouter(" in server.said()


async def test_an_application_without_the_platform_is_served_and_told_so(make: Make) -> None:
    server = make(app="mysite.asgi.plain")
    said = greeted(server)
    assert f"  API      {server.http}/api/openapi.json" in said
    assert not [line for line in said if line.startswith(("  client", "  health"))]
    assert "  application = flotilla.asgi(get_asgi_application())" in said
    assert server.get("/hello/") == (200, "hello")


async def test_the_lifespan_of_the_project_s_own_application_is_served(make: Make) -> None:
    server = make(app="mysite.asgi.with_lifespan")
    greeted(server)
    assert server.get("/hello/") == (200, "hello")
    server.send(signal.SIGTERM)
    assert server.wait() == 0
    assert [line for line in server.said().splitlines() if " own " in line] == [
        "[site-0] own lifespan.startup",
        "[site-0] own lifespan.shutdown",
    ]


@pytest.mark.parametrize("app", ["nowhere.asgi.application", "nonsense", ""])
async def test_an_application_that_is_not_there_is_named_with_the_mend(make: Make, app: str) -> None:
    said = refused(make(app=app))
    assert "settings.ASGI_APPLICATION" in said
    assert 'as ASGI_APPLICATION = "mysite.asgi.application"' in said
    assert "Traceback" not in said


async def test_what_is_wrong_with_the_settings_is_named(make: Make) -> None:
    said = refused(make(ping_interval="often"))
    assert "ping_interval" in said and "Traceback" not in said


async def test_the_demo_is_not_there(make: Make) -> None:
    server = make(f"{SERVE} --demo")
    server.launch()
    assert server.wait(READY_WITHIN) == 2
    assert "unrecognized arguments: --demo" in server.said()


class TestWithoutARedis:
    async def test_one_on_the_path_is_run_while_developing(self, make: Make, tmp_path: Path) -> None:
        server = make(redis_url=None, debug=True, var_dir=str(tmp_path / "var"))
        assert "  DEBUG is on: error pages show internals; never use it in public" in greeted(server)
        async with RawClient(server.url) as client:
            await client.connect("ann")
            await client.subscribe("open:a")
            server.publish("open:a", {"n": 1})
            await client.push("pub", "open:a", data={"n": 1})
        assert (tmp_path / "var" / "redis").is_dir()

    async def test_where_there_is_none_it_says_what_to_do(self, make: Make, tmp_path: Path) -> None:
        """Nothing is fetched."""
        server = make(redis_url=None, debug=True, var_dir=str(tmp_path / "var"))
        (tmp_path / "bin").mkdir()
        server.environment["PATH"] = str(tmp_path / "bin")
        said = refused(server)
        assert "no redis-server is on the PATH" in said and "apt install redis-server" in said
        assert not list((tmp_path / "var").rglob("redis-server*"))

    async def test_in_service_it_says_what_to_set(self, make: Make) -> None:
        said = refused(make(redis_url=None))
        assert "No Redis is configured." in said and "REDIS_URL" in said


class TestBounds:
    """Of the project's own consumer, on our server."""

    async def test_it_has_daphne_s_message_of_1_mib(self, make: Make) -> None:
        server = make()
        greeted(server)
        async with websockets.connect(f"{server.ws}/ws/chat/", proxy=None) as socket:
            for size in (100_000, 900_000, 2**20):
                await socket.send("x" * size)
                assert json.loads(await socket.recv()) == {"got": size}
            await socket.send("x" * (2**20 + 1))
            with pytest.raises(websockets.ConnectionClosed):
                await socket.recv()
            assert socket.close_code == 1009
        async with RawClient(server.url) as client:
            await client.connect("ann")
            await client.send_text("x" * 65_537)
            assert (await client.closed())[0] == 1009

    async def test_there_is_no_budget(self, make: Make) -> None:
        """Twice as many messages as a client of ours may send in a second, and more bytes, come and are answered."""
        server = make(max_frames_per_second=100, max_bytes_per_second=65_536)
        greeted(server)
        async with websockets.connect(f"{server.ws}/ws/chat/", proxy=None) as socket:
            for _ in range(1000):
                await socket.send("x" * 100)
            for _ in range(1000):
                assert json.loads(await socket.recv()) == {"got": 100}
        async with RawClient(server.url) as client:
            await client.connect("ann")
            for _ in range(1000):
                await client.send_text("{}")
            assert (await client.closed())[0] == 3013
