"""Clusters of real processes, and the official clients, for the tests beside it."""

import functools
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio

from tests.cluster.support import driven, sdk
from tests.cluster.support.api_client import Api
from tests.cluster.support.door import Door
from tests.cluster.support.generic_server import Server
from tests.cluster.support.harness import CONFIG, Cluster, Served, manage, running
from tests.cluster.support.http_client import one_server


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Shows the processes' logs beside a failure."""
    report = yield
    if report.failed and call.when == "call":
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, Cluster | Served | Server):
                report.sections.append(("logs of the cluster", value.tails()))
    return report


@pytest.fixture(scope="session", autouse=True)
def redis_server() -> None:
    """Everything here needs a Redis of its own."""
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server on the PATH")


USERS = """
from django.contrib.auth.models import User
User.objects.create(pk=7, username="ann", first_name="garden")
User.objects.create(pk=8, username="anton", first_name="cellar")
"""


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two instances as `serve` runs them, and one each under the other servers; for tests that do them no harm."""
    servers = ("flotilla", "flotilla", "daphne", "uvicorn", "hypercorn")
    with running(Cluster(tmp_path_factory.mktemp("shared"), CONFIG, *servers)) as shared:
        manage(shared.env, "shell", "--verbosity", "0", "-c", USERS)
        yield shared


@pytest.fixture
def pair(module_pair: Cluster) -> Cluster:
    """The two instances of a module that does harm to its own (its `module_pair`), well again."""
    return module_pair.made_well()


@pytest_asyncio.fixture
async def door(pair: Cluster) -> AsyncIterator[Door]:
    """One address before both instances; at first it leads to the first alone."""
    async with Door(pair[0].port) as opened:
        yield opened


@pytest.fixture
def fresh() -> Callable[[str], str]:
    """Gives names of channels that nobody has used, by namespace."""
    return lambda namespace: f"{namespace}:{secrets.token_hex(6)}" if namespace else secrets.token_hex(6)


@pytest_asyncio.fixture
async def node() -> AsyncIterator[driven.Node]:
    """A Node process for JavaScript clients."""
    if driven.node is None:
        pytest.skip("no node on the PATH, or no `npm ci` in tests/cluster")
    async with driven.Node() as running_node:
        yield running_node


@pytest_asyncio.fixture(params=["python", "js"])
async def make_client(request: pytest.FixtureRequest) -> AsyncIterator[sdk.MakeClient]:
    """Makes clients of one of the two SDKs: the test runs once with each, or as `driven.on_every_pair` says."""
    async with AsyncExitStack() as stack:
        make: Callable[..., sdk.SdkClient] = sdk.PythonClient
        if request.param != "python":
            if driven.node is None:
                pytest.skip("no node on the PATH, or no `npm ci` in tests/cluster")
            pair = request.param if isinstance(request.param, driven.Pair) else driven.WEBSOCKET
            make = functools.partial((await stack.enter_async_context(driven.Node())).client, pair=pair)

        def made(url: str, token: sdk.TokenSource | None = None, **options: Any) -> sdk.SdkClient:
            client = make(url, token, **options)
            stack.push_async_callback(client.close)
            return client

        yield made


@pytest_asyncio.fixture
async def both(node: driven.Node) -> AsyncIterator[Callable[..., list[sdk.SdkClient]]]:
    """Makes a client of each SDK, for tests that take too long to run twice."""
    async with AsyncExitStack() as stack:

        def made(url: str, token: sdk.TokenSource | None = None, **options: Any) -> list[sdk.SdkClient]:
            clients: list[sdk.SdkClient] = [sdk.PythonClient(url, token, **options), node.client(url, token, **options)]
            for client in clients:
                stack.push_async_callback(client.close)
            return clients

        yield made


@pytest_asyncio.fixture
async def api(cluster: Cluster) -> AsyncIterator[Api]:
    """The HTTP API, at the second instance."""
    async with Api(cluster[1].http) as client:
        yield client


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One instance of ours under an application of the tests, on TCP and TLS, with a Redis of its own."""
    patient = CONFIG | {"ping_interval": 60, "pong_timeout": 30, "connect_timeout": 30, "compression": True}
    with one_server(tmp_path_factory.mktemp("server"), patient) as made:
        yield made
