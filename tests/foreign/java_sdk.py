"""What the Java SDK can, as Maven Central has it, against two instances: it speaks Protobuf alone, over WebSocket.

It has no suite that a stranger could run, so the steps are ours: from the first token to an instance that is killed.
"""

import asyncio
import secrets
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio
from cent import DisconnectRequest, UnsubscribeRequest

from tests.cluster.support.api_client import Api
from tests.cluster.support.door import Door
from tests.cluster.support.driven import DrivenClient, Driver, Program
from tests.cluster.support.harness import CONFIG, Cluster, running
from tests.cluster.support.processes import eventually
from tests.cluster.support.raw_client import token
from tests.cluster.support.sdk import CommandFailed, TokenSource
from tests.foreign import java
from tests.foreign.suite import tool

pytestmark = pytest.mark.timeout(180)

Fresh = Callable[[str], str]
ANY_JSON = {"text": "Zoë 🌱 \u2028 <&>", "number": 1.5, "whole": 9007199254740993, "none": None, "list": [[], {}, True]}


@pytest.fixture
def fresh() -> Fresh:
    """Gives names of channels that nobody has used, by namespace."""
    return lambda namespace: f"{namespace}:{secrets.token_hex(6)}"


@pytest.fixture(scope="module")
def module_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    tool("redis-server")
    with running(Cluster(tmp_path_factory.mktemp("java"), CONFIG, "flotilla", "flotilla")) as cluster:
        yield cluster


@pytest.fixture
def pair(module_pair: Cluster) -> Cluster:
    """Two instances that are well."""
    return module_pair.made_well()


@pytest_asyncio.fixture
async def door(pair: Cluster) -> AsyncIterator[Door]:
    """One address before both; at first it leads to the first alone."""
    async with Door(pair[0].port) as opened:
        yield opened


@pytest_asyncio.fixture
async def api(pair: Cluster) -> AsyncIterator[Api]:
    """The HTTP API, at the second instance."""
    async with Api(pair[1].http) as client:
        yield client


@pytest.mark.timeout(java.BUILT_WITHIN)
def test_the_program_is_built() -> None:
    """First of all, so that no other test waits for Maven."""
    assert java.built().stat().st_size > 0


@pytest_asyncio.fixture
async def sdk() -> AsyncIterator[Program]:
    """A process for Java clients."""
    async with java.driver() as driver:
        yield driver
        for client in driver.clients.values():
            await client.close()


async def subscribed(
    sdk: Driver, url: str, channel: str, user: str = "ann", token_of: TokenSource | None = None, **options: Any
) -> DrivenClient:
    """A client that is connected and subscribed."""
    client = sdk.client(url, token_of or (lambda _: token(user)), **options)
    await client.connect()
    await client.subscribe(channel)
    await client.seen.event("subscribed", channel)
    return client


async def test_tokens_are_refreshed_in_time(pair: Cluster, fresh: Fresh, sdk: Driver) -> None:
    channel = fresh("$open")
    asked: list[str] = []

    def give(wanted: str) -> str:
        asked.append(wanted)
        ttl = 3 if asked.count(wanted) == 1 else 3600
        return token("ann", ttl=ttl, **({"channel": wanted} if wanted else {}))

    client = sdk.client(pair[0].url, give)
    await client.connect()
    await client.subscribe(channel, token=give)
    await client.seen.event("subscribed", channel)
    await eventually(lambda: asked.count("") == 2 and asked.count(channel) == 2, "both tokens were refreshed")
    await client.publish(channel, "still here")
    await client.seen.event("publication", channel, data="still here")
    assert len(client.seen.named("connected")) == len(client.seen.named("subscribed", channel)) == 1
    assert not client.seen.named("error")


async def test_a_refused_token_is_final(pair: Cluster, sdk: Driver) -> None:
    client = sdk.client(pair[0].url, lambda _: "no token")
    await client.connect()
    assert (await client.seen.event("disconnected"))["code"] == 3500


async def test_publications_go_both_ways_between_instances(pair: Cluster, fresh: Fresh, sdk: Driver) -> None:
    channel = fresh("open")
    one, two = [await subscribed(sdk, instance.url, channel) for instance in pair.instances]
    assert [one.seen.instance, two.seen.instance] == ["flotilla-0", "flotilla-1"]
    await one.publish(channel, ANY_JSON)
    await two.seen.event("publication", channel, data=ANY_JSON)
    await two.publish(channel, "back")
    async with Api(pair[0].http) as api:
        await api.say(channel, "of the server", tags={"kind": "note"})
    for client in (one, two):
        last = await client.seen.event("publication", channel, nth=3)
        assert last["tags"] == {"kind": "note"} and last["info"] is None
        assert client.seen.published(channel) == [ANY_JSON, "back", "of the server"]
        assert client.seen.offsets(channel) == [1, 2, 3]
    assert one.seen.named("publication", channel)[1]["info"]["client"] == two.seen.client


async def test_history_pages(pair: Cluster, fresh: Fresh, api: Api, sdk: Driver) -> None:
    channel = fresh("open")
    client = await subscribed(sdk, pair[0].url, channel)
    await api.say_all(channel, *range(1, 6))
    page = await client.history(channel, limit=2)
    assert [publication["data"] for publication in page["publications"]] == [1, 2]
    assert [publication["offset"] for publication in page["publications"]] == [1, 2]
    assert page["offset"] == 5 and page["epoch"]
    assert (await client.history(channel))["publications"] == []


async def test_presence_joins_and_leaves(pair: Cluster, fresh: Fresh, sdk: Driver) -> None:
    channel = fresh("open")
    ann = await subscribed(sdk, pair[0].url, channel, token_of=lambda _: token("ann", info={"name": "Ann"}))
    bob = await subscribed(sdk, pair[1].url, channel, "bob")
    joined = (await ann.seen.event("join", channel, nth=2))["info"]
    assert (joined["user"], joined["client"]) == ("bob", bob.seen.client)
    clients = (await bob.presence(channel))["clients"]
    assert {info["user"] for info in clients.values()} == {"ann", "bob"}
    assert clients[ann.seen.client]["conn_info"] == {"name": "Ann"}
    assert await ann.presence_stats(channel) == {"num_clients": 2, "num_users": 2}
    await bob.unsubscribe(channel)
    assert (await ann.seen.event("leave", channel))["info"]["client"] == bob.seen.client
    assert await ann.presence_stats(channel) == {"num_clients": 1, "num_users": 1}
    await bob.resubscribe(channel)
    await ann.seen.event("join", channel, nth=3)


async def test_errors_have_their_codes(pair: Cluster, fresh: Fresh, sdk: Driver) -> None:
    client = await subscribed(sdk, pair[0].url, fresh("open"))
    for code, attempt in (
        (103, client.publish(fresh("closed"), 1)),
        (102, client.publish("nowhere:x", 1)),
        (108, client.presence_stats(fresh("bare"))),
        (104, client.rpc("nothing", None)),
        (1042, client.rpc("refuse", {"code": 1042, "message": "not today"})),
    ):
        with pytest.raises(CommandFailed) as refused:
            await attempt
        assert refused.value.code == code
    await client.subscribe("nowhere:x")
    assert (await client.seen.event("unsubscribed", "nowhere:x"))["code"] == 102


async def test_rpc_and_messages(pair: Cluster, sdk: Driver) -> None:
    client = await subscribed(sdk, pair[0].url, "open:sent")
    assert await client.rpc("echo", ANY_JSON) == ANY_JSON
    await client.send({"a": "word"})
    await client.seen.event("publication", "open:sent", data={"from": "ann", "data": {"a": "word"}})


async def test_server_side_subscriptions(pair: Cluster, fresh: Fresh, api: Api, sdk: Driver) -> None:
    room = fresh("open")
    client = sdk.client(pair[0].url, lambda _: token("tim", channels=[room]))
    await client.connect()
    for channel in (room, "#tim"):
        await client.seen.event("server_subscribed", channel)
        await api.say(channel, {"for": channel})
        await client.seen.event("server_publication", channel, data={"for": channel})
    await client.seen.event("server_join", room)
    await api.unsubscribe(UnsubscribeRequest(user="tim", channel=room))
    await client.seen.event("server_unsubscribed", room)
    await api.disconnect(DisconnectRequest(user="tim"))
    assert (await client.seen.event("disconnected"))["code"] == 3503


async def test_a_killed_instance_costs_nothing(pair: Cluster, door: Door, fresh: Fresh, api: Api, sdk: Driver) -> None:
    """Neither its own subscription nor the server's misses or doubles anything."""
    channel, own = fresh("open"), fresh("open")
    client = await subscribed(sdk, door.url, channel, token_of=lambda _: token("ann", channels=[own]))
    for number in (1, 2):
        await api.say(channel, number)
        await api.say(own, number)
    await client.seen.event("publication", channel, data=2)
    await client.seen.event("server_publication", own, data=2)
    door.only(pair[1].port)
    pair[0].kill()
    for number in (3, 4):
        await api.say(channel, number)
        await api.say(own, number)
    await client.seen.event("subscribed", channel, was_recovering=True, recovered=True)
    await client.seen.event("server_subscribed", own, was_recovering=True, recovered=True)
    assert client.seen.instance == "flotilla-1"
    await api.say(channel, 5)
    await api.say(own, 5)
    await client.seen.event("publication", channel, data=5)
    await client.seen.event("server_publication", own, data=5)
    assert client.seen.published(channel) == client.seen.published(own, server_side=True) == [1, 2, 3, 4, 5]
    assert client.seen.offsets(channel) == [1, 2, 3, 4, 5]


async def test_an_instance_that_stops_sends_its_clients_on(
    pair: Cluster, door: Door, fresh: Fresh, api: Api, sdk: Driver
) -> None:
    channel = fresh("open")
    client = await subscribed(sdk, door.url, channel)
    await api.say(channel, 1)
    await client.seen.event("publication", channel, data=1)
    door.only(pair[1].port)
    pair[0].send(signal.SIGTERM)
    assert (await client.seen.event("connecting", nth=2))["code"] == 3001
    await api.say(channel, 2)
    await client.seen.event("subscribed", channel, recovered=True)
    await client.seen.event("publication", channel, data=2)
    assert client.seen.published(channel) == [1, 2]
    await asyncio.to_thread(pair[0].stop)


async def test_beyond_history_it_is_told(pair: Cluster, fresh: Fresh, api: Api, sdk: Driver) -> None:
    channel = fresh("small")
    client = await subscribed(sdk, pair[0].url, channel)
    await api.say(channel, 1)
    await client.seen.event("publication", channel)
    await client.disconnect()
    await client.seen.event("disconnected")
    await api.say_all(channel, *range(2, 12))
    await client.connect()
    await client.seen.event("subscribed", channel, was_recovering=True, recovered=False)
    await api.say(channel, 12)
    await client.seen.event("publication", channel, data=12)
    assert client.seen.published(channel) == [1, 12]


async def test_it_answers_pings(pair: Cluster, fresh: Fresh, sdk: Driver) -> None:
    channel = fresh("open")
    client = await subscribed(sdk, pair[0].url, channel)
    until = time.monotonic() + 2 * CONFIG["ping_interval"] + CONFIG["pong_timeout"]
    await eventually(lambda: time.monotonic() > until, "two pings and a pong")
    await client.publish(channel, "still here")
    await client.seen.event("publication", channel, data="still here")
    assert len(client.seen.named("connected")) == 1
