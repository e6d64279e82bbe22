"""The platform in a project that is not ours, under the servers people use: it is there from the start, each worker
has a name and a metrics port, the project's own consumer is served, and SIGTERM sends our clients elsewhere.
"""

import asyncio
import json
import signal
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import pytest
import websockets

from tests.cluster.support.foreign_project import Project, Serving, metrics
from tests.cluster.support.processes import READY_WITHIN, eventually, wait_until
from tests.cluster.support.raw_client import RawClient

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300)]

Fresh = Callable[[str], str]


class Kind(NamedTuple):
    """A way to serve. `first`: the name of its first process; `closes`: the codes that our clients may see at SIGTERM;
    `daphne`: among the installed apps."""

    command: str
    workers: int = 1
    first: str = "site"
    closes: tuple[int, ...] = (3001,)
    daphne: bool = False


AT = "--host 127.0.0.1 --port {port}"
KINDS = {
    "ours": Kind("flotilla.realtime.server.daphne -b 127.0.0.1 -p {port} {app}"),
    "serve": Kind("{manage} serve --instances 2 " + AT, 2, "site-0"),
    "uvicorn": Kind(f"uvicorn {AT} {{app}}"),
    "uvicorn with workers": Kind(f"uvicorn {AT} --workers 2 {{app}}", 2),
    "gunicorn": Kind(
        "gunicorn --worker-class uvicorn_worker.UvicornWorker --workers 2 --bind 127.0.0.1:{port}"
        " --worker-tmp-dir {home} --no-control-socket {app}",
        2,
    ),
    "gunicorn alone": Kind(
        "gunicorn --worker-class asgi --workers 2 --bind 127.0.0.1:{port} --worker-tmp-dir {home} --no-control-socket"
        " {app}",
        2,
    ),
    "granian": Kind(f"granian --interface asgi {AT} --workers 2 {{app}}", 2),
    "hypercorn in one process": Kind("hypercorn --workers 0 --bind 127.0.0.1:{port} {app}"),
    # It tells its workers of the end by no signal, waits 3 s, and cuts everybody off, with a close if there is time.
    "hypercorn": Kind("hypercorn --workers 2 --bind 127.0.0.1:{port} {app}", 2, closes=(1011, 1006)),
    "daphne": Kind("daphne -b 127.0.0.1 -p {port} {app}"),
    "runserver": Kind("{manage} runserver --noreload 127.0.0.1:{port}", daphne=True),
}


@pytest.fixture(scope="module", params=KINDS, ids=[name.replace(" ", "-") for name in KINDS])
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture(scope="module")
def site(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    project = Project(tmp_path_factory.mktemp("site"), daphne=kind.daphne)
    server = Serving("server", project, kind.command)
    try:
        project.start()
        yield server
    finally:
        server.stop()
        project.stop()


@pytest.fixture
def serving(site: Serving, kind: Kind) -> Serving:
    """Its server, with all workers; started again where a test has ended it."""
    if not site.running:
        site.start()
    wait_until(lambda: len(site.nodes()) == kind.workers, "all workers are there")
    return site


async def test_every_worker_is_there_before_anybody_connects(serving: Serving, kind: Kind) -> None:
    """With its lease, under a name of its own, and with metrics at a port of its own."""
    names = {kind.first, *(f"site-{number}" for number in range(1, kind.workers))}
    assert serving.nodes() == names, serving.tail()
    found = set()
    for number in range(kind.workers):
        port = serving.metrics_port + number
        answer = await eventually(partial(metrics, port), "its metrics", READY_WITHIN)
        found |= {name for name in names if f'name="{name}"' in answer}
        assert "flotilla_event_loop_lag_seconds" in answer
    assert found == names


async def test_a_client_gets_what_is_published(serving: Serving, fresh: Fresh) -> None:
    """By a client, and over the HTTP API, whichever worker that is."""
    channel = fresh("open")
    async with RawClient(serving.url) as one, RawClient(serving.url) as other:
        for client, user in ((one, "ann"), (other, "bob")):
            await client.connect(user)
            await client.subscribe(channel)
        await one.call("publish", channel=channel, data={"by": "ann"})
        await asyncio.to_thread(serving.publish, channel, {"by": "the API"})
        for client in (one, other):
            await client.push("pub", channel, data={"by": "the API"})
            assert [pub["data"]["by"] for pub in client.publications(channel)] == ["ann", "the API"]


async def test_what_is_not_ours_is_the_project_s(serving: Serving) -> None:
    before = len(serving.said())
    assert await asyncio.to_thread(serving.get, "/hello/") == (200, "hello")
    assert await asyncio.to_thread(serving.status, "/nowhere/") == 404
    assert await asyncio.to_thread(serving.status, "/connection/websocket") == 426
    async with websockets.connect(f"{serving.ws}/ws/chat/", proxy=None) as socket:
        for size in (1, 100_000, 900_000):  # our own bound is 64 KiB
            await socket.send("x" * size)
            assert json.loads(await socket.recv()) == {"got": size}
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with websockets.connect(f"{serving.ws}/ws/nowhere/", proxy=None):
            pass
    assert refused.value.response.status_code in (403, 404)
    assert "Traceback" not in serving.said()[before:]


async def test_sigterm_sends_clients_elsewhere(serving: Serving, kind: Kind) -> None:
    """All of them, whichever worker has them, before the server closes anything itself."""
    async with RawClient(serving.url) as one, RawClient(serving.url) as other:
        for client, user in ((one, "ann"), (other, "bob")):
            await client.connect(user)
        serving.send(signal.SIGTERM)
        for client in (one, other):
            code, reason = await client.closed()
            assert code in kind.closes, serving.tail()
            assert reason == ("shutdown" if code == 3001 else "")
    assert await asyncio.to_thread(serving.wait) in (0, -signal.SIGTERM)
    assert not metrics(serving.metrics_port)
