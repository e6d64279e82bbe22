"""Two instances, and what happens to clients and presence when one goes, in every way it can go (invariants 1-3).

The instances are restarted between the tests, so that each finds both of them well.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import cent
import pytest
import pytest_asyncio

from tests.cluster.support.api_client import Api
from tests.cluster.support.door import Door
from tests.cluster.support.driven import on_every_pair
from tests.cluster.support.harness import CONFIG, ENDED, PLAIN, Cluster, Instance, manage, running
from tests.cluster.support.processes import eventually
from tests.cluster.support.raw_client import RawClient, token
from tests.cluster.support.sdk import MakeClient

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(150)]

Fresh = Callable[[str], str]
PATIENT = {"ping_interval": 8, "pong_timeout": 7.5, "connect_timeout": 15}  # crowds of a busy test answer late


@pytest.fixture(scope="module")
def module_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(Cluster(tmp_path_factory.mktemp("pair"), CONFIG | PATIENT, "flotilla", "flotilla")) as cluster:
        yield cluster


class Crowd:
    """Raw clients in one channel of one instance, with pings answered."""

    def __init__(self) -> None:
        self.clients: list[RawClient] = []
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "Crowd":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def join(self, instance: Instance, channel: str, *users: str) -> list[RawClient]:
        """Connect and subscribe a client for each user."""
        found = []
        for user in users:
            client = await self._stack.enter_async_context(RawClient(instance.url))
            await client.connect(user)
            await client.subscribe(channel)
            found.append(client)
        self.clients += found
        return found


@pytest_asyncio.fixture
async def crowd() -> AsyncIterator[Crowd]:
    async with Crowd() as gathered:
        yield gathered


def about(client: RawClient, channel: str, kind: str) -> list[str]:
    """The connection ids of the joins or leaves a client has seen."""
    return [body["info"]["client"] for _, body in client.pushes(channel, kind)]


async def members(client: RawClient, channel: str) -> set[str]:
    """The connections present in a channel, as one instance sees them."""
    return set((await client.call("presence", channel=channel))["presence"]["presence"])


async def test_instances_exchange_messages_and_broadcasts(pair: Cluster, fresh: Fresh, make_client: MakeClient) -> None:
    one, two = fresh("open"), fresh("open")
    clients = [make_client(instance.url, lambda _: token("ann")) for instance in pair.instances]
    for client in clients:
        await client.connect()
        for channel in (one, two):
            await client.subscribe(channel)
            await client.seen.event("subscribed", channel)
    assert [client.seen.instance for client in clients] == ["flotilla-0", "flotilla-1"]
    await clients[0].publish(one, "from the first")
    await clients[1].publish(one, "from the second")
    async with Api(pair[0].http) as api:
        answer = await api.broadcast(cent.BroadcastRequest(channels=[one, two, "nowhere:x"], data="to both"))
        assert [response.error.code if response.error else 0 for response in answer.responses] == [0, 0, 102]
    for client in clients:
        await client.seen.event("publication", one, data="to both")
        await client.seen.event("publication", two, data="to both")
        assert sorted(client.seen.published(one)[:2]) == ["from the first", "from the second"]
        assert client.seen.offsets(one) == [1, 2, 3]
        assert await client.presence_stats(one) == {"num_clients": 2, "num_users": 1}


@on_every_pair
async def test_client_moved_to_other_instance_misses_nothing(
    pair: Cluster, door: Door, fresh: Fresh, make_client: MakeClient
) -> None:
    """It is moved to and fro while publications go on."""
    channel, published = fresh("open"), 0
    client = make_client(door.url, lambda _: token("ann"))
    await client.connect()
    await client.subscribe(channel)
    await client.seen.event("subscribed", channel)
    async with Api(pair[1].http) as api:

        async def publish(count: int) -> None:
            nonlocal published
            for _ in range(count):
                published += 1
                await api.say(channel, published)

        for move in range(4):
            await publish(20)
            target = 1 - move % 2
            door.only(pair[target].port)
            door.cut()
            await publish(20)
            await client.seen.event("subscribed", channel, nth=move + 1, recovered=True)
            assert client.seen.instance == f"flotilla-{target}"
        await publish(20)
        await client.seen.event("publication", channel, offset=published)
    assert client.seen.published(channel) == list(range(1, published + 1))
    assert client.seen.offsets(channel) == list(range(1, published + 1))


async def test_shell_and_http_publish_to_everybody(pair: Cluster, fresh: Fresh, crowd: Crowd) -> None:
    channel = fresh("open")
    clients = [*await crowd.join(pair[0], channel, "ann"), *await crowd.join(pair[1], channel, "bob")]
    words = ("publish", channel, '{"from": "the shell"}', "--idempotency-key", "once")
    for _ in range(2):  # in a thread: the clients have pings to answer meanwhile
        assert "offset 1" in await asyncio.to_thread(manage, pair.env, *words)
    async with Api(pair[0].http) as one, Api(pair[1].http) as two:
        places = [await api.say(channel, {"from": "http"}, idempotency_key="k") for api in (one, two)]
    assert [place.offset for place in places] == [2, 2] and places[0].epoch == places[1].epoch
    for client in clients:
        await client.push("pub", channel, offset=2)
        await client.round_trip()
        assert [p["data"]["from"] for p in client.publications(channel)] == ["the shell", "http"]


async def test_a_closed_connection_leaves_at_once_and_once(pair: Cluster, fresh: Fresh, crowd: Crowd) -> None:
    channel = fresh("open")
    (observer,) = await crowd.join(pair[1], channel, "eve")
    cut, leaving, closing = await crowd.join(pair[0], channel, "cut", "leaving", "closing")
    await eventually(lambda: len(about(observer, channel, "join")) == 4, "four joins")
    cut.abort()
    await leaving.call("unsubscribe", channel=channel)
    await closing.socket.close()
    await eventually(lambda: len(about(observer, channel, "leave")) >= 3, "three leaves")
    assert await members(observer, channel) == {observer.client}
    assert sorted(about(observer, channel, "leave")) == sorted(c.client for c in (cut, leaving, closing))


@on_every_pair
async def test_killed_instance_leaves_once_and_its_clients_recover(
    pair: Cluster, door: Door, fresh: Fresh, crowd: Crowd, make_client: MakeClient
) -> None:
    channel = fresh("open")
    (observer,) = await crowd.join(pair[1], channel, "eve")
    lost = await crowd.join(pair[0], channel, "ann", "ann", "bob")
    client = make_client(door.url, lambda _: token("sdk"))
    await client.connect()
    await client.subscribe(channel)
    await eventually(lambda: len(about(observer, channel, "join")) == 5, "five joins")
    before = set(about(observer, channel, "join")) - {observer.client}
    async with Api(pair[1].http) as api:
        await api.say(channel, 1)
        await client.seen.event("publication", channel, data=1)
        door.only(pair[1].port)
        pair[0].kill()
        await api.say_all(channel, 2, 3)
        await client.seen.event("subscribed", channel, recovered=True)
        await api.say(channel, 4)
        await client.seen.event("publication", channel, data=4)
    assert client.seen.published(channel) == [1, 2, 3, 4]
    await eventually(lambda: len(about(observer, channel, "leave")) >= len(before), "all left")
    await asyncio.to_thread(pair[0].start)  # the others must go on answering pings
    (late,) = await crowd.join(pair[0], channel, "late")
    assert sorted(about(observer, channel, "leave")) == sorted(before)
    assert len(await members(late, channel)) == 3
    assert len(about(observer, channel, "join")) == len(set(about(observer, channel, "join"))) == 7
    assert lost


@pytest.mark.skipif(PLAIN == "uvicorn", reason="uvicorn closes its connections itself, with 1012")
@on_every_pair
async def test_terminated_instance_tells_every_client_and_leaves_nobody_behind(
    pair: Cluster, door: Door, fresh: Fresh, crowd: Crowd, make_client: MakeClient
) -> None:
    channel = fresh("open")
    (observer,) = await crowd.join(pair[1], channel, "eve")
    told = await crowd.join(pair[0], channel, *(f"user-{n}" for n in range(150)))
    client = make_client(door.url, lambda _: token("sdk"))
    await client.connect()
    await client.subscribe(channel)
    await client.seen.event("subscribed", channel)
    door.only(pair[1].port)
    pair[0].send(signal.SIGTERM)
    await eventually(lambda: not pair[0].running, "the instance has ended", within=20)
    present = await members(observer, channel)
    assert pair[0].exit_code in ENDED
    assert present.isdisjoint(c.client for c in told)
    for each in told:
        assert await each.closed() == (3001, "shutdown")
    again = await client.seen.event("connecting", nth=2)
    assert again["code"] == 3001
    await client.seen.event("subscribed", channel, recovered=True)
    assert client.seen.instance == "flotilla-1"
    left = about(observer, channel, "leave")
    assert len(left) == len(set(left)) == 151


@on_every_pair
async def test_paused_instance_beyond_its_lease_leaves_once_and_joins_once(
    pair: Cluster, door: Door, fresh: Fresh, crowd: Crowd, make_client: MakeClient
) -> None:
    channel = fresh("open")
    (observer,) = await crowd.join(pair[1], channel, "eve")
    paused = await crowd.join(pair[0], channel, "ann", "bob")
    client = make_client(door.url, lambda _: token("sdk"), max_server_ping_delay=30.0)
    await client.connect()
    await client.subscribe(channel)
    await eventually(lambda: len(about(observer, channel, "join")) == 4, "four joins")
    gone = set(about(observer, channel, "join")) - {observer.client}
    async with Api(pair[1].http) as api:
        await api.say(channel, 1)
        await client.seen.event("publication", channel, data=1)
        pair[0].send(signal.SIGSTOP)
        await eventually(lambda: len(about(observer, channel, "leave")) == 3, "three leaves")
        await api.say(channel, 2)
        pair[0].send(signal.SIGCONT)
        for each in paused:
            assert (await each.closed())[0] == 3011
        await client.seen.event("subscribed", channel, recovered=True)
        await api.say(channel, 3)
        await client.seen.event("publication", channel, data=3)
    assert client.seen.published(channel) == [1, 2, 3]
    await eventually(lambda: len(about(observer, channel, "join")) == 5, "the SDK's client joined again")
    pair[0].wait_ready()
    await observer.round_trip()
    assert sorted(about(observer, channel, "leave")) == sorted(gone)
    joined = about(observer, channel, "join")
    assert len(set(joined)) == len(joined) == 5
    assert await members(observer, channel) == {observer.client, *joined} - gone


async def test_instance_paused_within_its_lease_loses_nothing(pair: Cluster, fresh: Fresh, crowd: Crowd) -> None:
    channel = fresh("open")
    (observer,) = await crowd.join(pair[1], channel, "eve")
    (paused,) = await crowd.join(pair[0], channel, "ann")
    async with Api(pair[1].http) as api:
        pair[0].send(signal.SIGSTOP)
        await api.say_all(channel, *range(1, 101))
        await observer.push("pub", channel, offset=100)
        pair[0].send(signal.SIGCONT)
        await paused.push("pub", channel, offset=100)
    assert [p["data"] for p in paused.publications(channel)] == list(range(1, 101))
    assert about(observer, channel, "leave") == []
    assert await members(paused, channel) == {observer.client, paused.client}


async def test_subscribing_everywhere_while_an_instance_dies_is_never_silent(
    pair: Cluster, fresh: Fresh, crowd: Crowd
) -> None:
    """Every command is answered or the connection closed, whatever was in flight."""
    channels = [fresh("open") for _ in range(10)]
    async with RawClient(pair[0].url) as client:
        await client.connect("ann")
        commands: list[dict[str, Any]] = [client.command("subscribe", channel=channel) for channel in channels]
        await client.send(*commands)
        pair[0].kill()
        await client.closed()
    (survivor,) = await crowd.join(pair[1], channels[0], "bob")
    await eventually(lambda: len(about(survivor, channels[0], "join")) >= 1, "its own join")
