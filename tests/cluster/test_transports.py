"""The JavaScript SDK over every pair of transport and encoding, in Node and in Chromium: straight to the instances, and
through HAProxy and nginx as they are shipped (invariants 1 and 3).

All pairs are connected at the same time, each in a channel of its own, so that a fault is met by all of them at once.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from tests.cluster.support import driven
from tests.cluster.support.api_client import Api
from tests.cluster.support.balancer import Balancer
from tests.cluster.support.chromium import Tab
from tests.cluster.support.driven import PAIRS, DrivenClient, Driver
from tests.cluster.support.harness import CONFIG, Cluster, running
from tests.cluster.support.nginx import Nginx
from tests.cluster.support.processes import eventually
from tests.cluster.support.raw_client import token

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(180)]

Clients = dict[str, DrivenClient]  # by the channel of each
Fresh = Callable[[str], str]
PINGED = {"ping_interval": 6, "pong_timeout": 3}  # seconds: longer than those between wait for an ordinary answer
AT_ONCE = 4.0  # seconds within which anything comes, unless somebody between holds it back until there is more


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    config = CONFIG | PINGED
    with running(Cluster(tmp_path_factory.mktemp("transports"), config, "flotilla", "flotilla")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def haproxy(pair: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balancer]:
    balancer = Balancer(tmp_path_factory.mktemp("haproxy"), [instance.port for instance in pair.instances])
    try:
        balancer.start()
        yield balancer
    finally:
        balancer.stop()


@pytest.fixture(scope="module")
def nginx(pair: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    proxy = Nginx(tmp_path_factory.mktemp("nginx"), *(instance.port for instance in pair.instances))
    try:
        proxy.start()
        yield proxy
    finally:
        proxy.stop()


@pytest.fixture(params=["directly", "haproxy", "nginx"] if driven.in_full else ["directly"])
def http(pair: Cluster, request: pytest.FixtureRequest) -> str:
    """The address of the site, of which both instances are well."""
    pair.made_well()
    way: Balancer | Nginx = pair[0] if request.param == "directly" else request.getfixturevalue(request.param)
    return way.http


@pytest_asyncio.fixture(params=["node", "chromium"])
async def driver(http: str, request: pytest.FixtureRequest) -> AsyncIterator[Driver]:
    """Hosts JavaScript clients of the site."""
    if driven.node is None:
        pytest.skip("no node on the PATH, or no `npm ci` in tests/cluster")
    async with AsyncExitStack() as stack:
        host: driven.Node | Tab = driven.Node() if request.param == "node" else Tab(http)
        yield await stack.enter_async_context(host)


@pytest_asyncio.fixture
async def clients(driver: Driver, http: str, fresh: Fresh) -> AsyncIterator[Clients]:
    """A client over each pair, subscribed to its channel."""
    url = http.replace("http", "ws", 1) + "/connection/websocket"
    found = {fresh("open"): driver.client(url, lambda _: token("ann"), str(pair), pair) for pair in PAIRS}
    for channel, client in found.items():
        await client.connect()
        await client.subscribe(channel)
    for pair, (channel, client) in zip(PAIRS, found.items(), strict=True):
        await client.seen.event("subscribed", channel)
        assert client.seen.named("connected")[0]["transport"] == pair.transport
    yield found
    for client in found.values():
        await client.close()


async def test_commands_and_publications_pass_at_once(pair: Cluster, clients: Clients) -> None:
    """Nobody between waits for more before it passes something on, however small or large it is."""
    large = "x" * 40_000
    for number, (channel, client) in enumerate(clients.items()):
        await asyncio.wait_for(client.publish(channel, "of its own"), AT_ONCE)
        async with Api(pair[number % 2].http) as api:
            await api.say(channel, large)
        await client.seen.event("publication", channel, data=large, within=AT_ONCE)
        await asyncio.wait_for(client.publish(channel, {"große": ["Zoë 🌱", 1.5, None]}), AT_ONCE)
        await client.seen.event("publication", channel, nth=3, within=AT_ONCE)
        assert client.seen.published(channel) == ["of its own", large, {"große": ["Zoë 🌱", 1.5, None]}]
        assert client.seen.offsets(channel) == [1, 2, 3]
        assert await client.rpc("echo", [large]) == [large]
        page = await client.history(channel, limit=1)
        assert [publication["data"] for publication in page["publications"]] == ["of its own"]
        assert await client.presence_stats(channel) == {"num_clients": 1, "num_users": 1}
        assert list((await client.presence(channel))["clients"]) == [client.seen.client]


async def test_pings_keep_who_says_nothing(pair: Cluster, clients: Clients) -> None:
    """Quiet from ping to ping, nobody is taken for dead; unsubscribing and leaving are seen at once."""
    witness = next(iter(clients.values()))
    async with Api(pair[0].http) as api:
        quiet_until = asyncio.get_running_loop().time() + 2 * PINGED["ping_interval"] + PINGED["pong_timeout"]
        await eventually(lambda: asyncio.get_running_loop().time() > quiet_until, "two pings and a pong")
        for channel in clients:
            await api.say(channel, "still here?")
    for channel, client in clients.items():
        await client.seen.event("publication", channel, data="still here?", within=AT_ONCE)
        assert len(client.seen.named("connected")) == 1, f"{client.name}: {client.seen.events}"
    for channel, client in clients.items():
        if client is not witness:
            await client.disconnect()
            await client.seen.event("disconnected")
            await nobody_left(witness, channel)


async def nobody_left(witness: DrivenClient, channel: str) -> None:
    """Wait until nobody is present, as a witness sees it."""

    async def nobody() -> bool:
        return not (await witness.presence_stats(channel))["num_clients"]

    await eventually(nobody, "nobody is left", AT_ONCE)


async def test_a_killed_instance_costs_nothing(pair: Cluster, http: str, clients: Clients) -> None:
    """Each goes on where it was, at the other instance: nothing is missed, nothing comes twice."""
    first = next(iter(clients.values())).seen.instance
    victim, survivor = sorted(pair.instances, key=lambda instance: instance.name != first)
    straight = http == victim.http
    hit = [client for client in clients.values() if client.seen.instance == victim.name]
    async with Api(survivor.http) as api:
        for channel, client in clients.items():
            await api.say(channel, 1)
            await client.seen.event("publication", channel, data=1, within=AT_ONCE)
        victim.kill()
        for channel in clients:
            await api.say_all(channel, 2, 3)
        if straight:  # nobody else is at its address: it comes back itself
            await asyncio.to_thread(victim.start)
        for channel, client in clients.items():
            if client in hit:
                await client.seen.event("subscribed", channel, was_recovering=True, recovered=True)
            await api.say(channel, 4)
    for channel, client in clients.items():
        await client.seen.event("publication", channel, data=4)
        assert client.seen.published(channel) == [1, 2, 3, 4], client.name
        assert client.seen.offsets(channel) == [1, 2, 3, 4], client.name
    if not straight:
        assert {client.seen.instance for client in clients.values()} == {survivor.name}
