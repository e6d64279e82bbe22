"""A site under a path (`serve --root-path`, `ROOT_PATH`): pages, static files, the API and sockets are all below it."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.support.generic_server import Server
from tests.cluster.support.harness import API_KEY, CONFIG
from tests.cluster.support.http_client import HOST, Client, get, one_server, request
from tests.cluster.support.raw_client import RawClient, token

ROOT = "/real/time"


@pytest.fixture(scope="module")
def below(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An instance that lies under a path."""
    with one_server(tmp_path_factory.mktemp("below"), CONFIG, ROOT_PATH=ROOT, DJANGO_DEBUG="1") as made:
        yield made


def ask(server: Server, path: str, *more: str, method: str = "GET", body: bytes = b"") -> Any:
    """The answer to a request."""
    with Client(server.port) as client:
        return client.ask(request(method, path, *more, body=body) if body else get(path, HOST, *more, method=method))


def test_links_and_static_files_of_the_admin_are_below_it(below: Server) -> None:
    found = ask(below, f"{ROOT}/admin/")
    assert found["location"] == f"{ROOT}/admin/login/?next={ROOT}/admin/"
    page = ask(below, f"{ROOT}/admin/login/").body
    assert f'action="{ROOT}/admin/login/'.encode() in page
    assert b'href="/static/' not in page
    sheet = page.partition(b'<link rel="stylesheet" href="')[2].partition(b'"')[0].decode()
    assert sheet.startswith(f"{ROOT}/static/")
    assert ask(below, sheet).status == 200


def test_the_demo_s_page_names_the_socket_below_it(below: Server) -> None:
    page = ask(below, f"{ROOT}/").body
    assert f'data-websocket="{ROOT}/connection/websocket"'.encode() in page


def test_the_api_is_below_it(below: Server) -> None:
    body = json.dumps({"channel": "open:a", "data": 1}).encode()
    found = ask(below, f"{ROOT}/api/publish", f"X-API-Key: {API_KEY}", method="POST", body=body)
    assert (found.status, "result" in found.json) == (200, True)
    assert ask(below, f"{ROOT}/api/publish", "X-API-Key: wrong", method="POST", body=body).status == 401


async def test_sockets_are_below_it(below: Server) -> None:
    async with RawClient(below.url.replace("/connection", f"{ROOT}/connection")) as client:
        await client.send({"id": 1, "connect": {"token": token("7")}})
        await client.wait(lambda message: message.get("id") == 1, "it is connected")
    assert (await asyncio.to_thread(ask, below, f"{ROOT}/connection/websocket")).status == 426


@pytest.mark.parametrize(
    "path", ["/admin/", "/api/info", "/real/timeless/admin/", "/real", "/static/realtime/admin/live.js"]
)
def test_nothing_is_outside_of_it(below: Server, path: str) -> None:
    assert ask(below, path).status == 404
    assert ask(below, path, f"Daphne-Root-Path: {path}").status == 404
    assert "Traceback" not in below.log.read_text()


def test_its_own_path_is_its_root_and_health_is_everywhere(below: Server) -> None:
    assert ask(below, ROOT).status == 200
    assert ask(below, "/health/live").status == ask(below, f"{ROOT}/health/live").status == 200
