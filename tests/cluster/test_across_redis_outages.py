"""Redis away, silent, restarted, older than it was, or empty: nobody leaves by mistake, no gap is silent, all heals.

Invariants 1, 3 and 7, with two real instances over one Redis.
"""

import asyncio
import signal
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio
from cent import CentApiResponseError

from flotilla.store import placement_of
from tests.cluster.support.api_client import Api
from tests.cluster.support.driven import on_every_pair
from tests.cluster.support.harness import CONFIG, Cluster, Instance, running
from tests.cluster.support.processes import READY_WITHIN, eventually
from tests.cluster.support.raw_client import Message, RawClient, token
from tests.cluster.support.sdk import MakeClient, SdkClient
from tests.cluster.test_across_instances import Crowd, about, members

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(150)]

Fresh = Callable[[str], str]
WITHOUT_PERSONAL = CONFIG | {"user_personal_channel": False}  # so that a subscription can be lost without the rest
MORE_REPLICAS = 9  # than any Redis here has


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(Cluster(tmp_path_factory.mktemp("outages"), WITHOUT_PERSONAL, "flotilla", "flotilla")) as cluster:
        yield cluster


@pytest_asyncio.fixture
async def crowd(pair: Cluster) -> AsyncIterator[Crowd]:
    await well(pair)
    async with Crowd() as gathered:
        yield gathered


async def well(pair: Cluster) -> None:
    """Wait until both instances are ready."""
    await eventually(
        lambda: all(instance.ready() for instance in pair.instances), "both instances are ready", READY_WITHIN
    )


async def unwell(pair: Cluster) -> None:
    """Wait until both instances have noticed."""
    await eventually(lambda: not any(instance.ready() for instance in pair.instances), "no instance is ready")


async def settled(observer: RawClient, channel: str, expected: set[str]) -> None:
    """Wait until presence is as expected, then for two pings more: a late leave would have come."""
    for _ in range(100):
        if await members(observer, channel) == expected:
            break
        await observer.wait(lambda _: True, "anything")
    seen = len(observer.pings)
    await eventually(lambda: len(observer.pings) >= seen + 2, "two pings")
    assert await members(observer, channel) == expected


async def say_again_and_again(api: Api, channel: str, data: object) -> None:
    """Publish until it is answered with success, as a publisher with an idempotency key does."""
    from cent import CentError

    for _ in range(200):
        try:
            await api.say(channel, data, idempotency_key=f"{channel}-{data}")
            return
        except CentError:
            continue
    raise AssertionError("publishing never worked again")


async def subscribe_again_and_again(client: RawClient, channel: str, **position: Any) -> Message:
    """Subscribe until it is not refused for a moment, as the official clients do."""
    for _ in range(20):
        reply = await client.call("subscribe", channel=channel, **position)
        if "subscribe" in reply:
            result: Message = reply["subscribe"]
            return result
        assert reply["error"] == {"code": 100, "message": "internal server error", "temporary": True}
    raise AssertionError("subscribing never worked")


async def test_redis_restarted_beyond_the_lease_reaps_nobody_and_loses_nothing(
    pair: Cluster, fresh: Fresh, crowd: Crowd, both: Callable[..., list[SdkClient]]
) -> None:
    channel = fresh("open")
    one, two = [*await crowd.join(pair[0], channel, "ann"), *await crowd.join(pair[1], channel, "bob")]
    clients = both(pair[0].url, lambda _: token("sdk"))
    for client in clients:
        await client.connect()
        await client.subscribe(channel)
    await eventually(lambda: len(about(one, channel, "join")) == 4, "four joins")
    present = await members(one, channel)
    async with Api(pair[1].http) as api:
        await api.say_all(channel, 1, 2)
        await asyncio.to_thread(pair.redis.stop)
        await unwell(pair)
        seen = len(one.pings)
        await eventually(lambda: len(one.pings) >= seen + 3, "a lease's time has passed")
        assert await one.error("publish", channel=channel, data="refused") == 100
        await asyncio.to_thread(pair.redis.start)
        await well(pair)
        for n in (3, 4, 5):
            await say_again_and_again(api, channel, n)
    for raw in (one, two):
        await raw.push("pub", channel, offset=5)
        assert [p["data"] for p in raw.publications(channel)] == [1, 2, 3, 4, 5]
    for client in clients:
        await client.seen.event("publication", channel, data=5)
        assert client.seen.published(channel) == [1, 2, 3, 4, 5]
        assert len(client.seen.named("connected")) == 1
    await settled(one, channel, present)
    assert about(one, channel, "leave") == [] and len(about(one, channel, "join")) == 4


async def test_silent_redis_keeps_clients_and_heals(pair: Cluster, fresh: Fresh, crowd: Crowd) -> None:
    channel = fresh("open")
    (one,) = await crowd.join(pair[0], channel, "ann")
    (two,) = await crowd.join(pair[1], channel, "bob")
    pair.redis.send(signal.SIGSTOP)
    try:
        await unwell(pair)
        assert await one.error("publish", channel=channel, data="lost?") == 100
    finally:
        pair.redis.send(signal.SIGCONT)
    await well(pair)
    async with Api(pair[1].http) as api:
        await say_again_and_again(api, channel, "after")
    for raw in (one, two):
        await raw.push("pub", channel, data="after")
    offsets = [[p["offset"] for p in raw.publications(channel)] for raw in (one, two)]
    assert offsets[0] == offsets[1] == list(range(1, len(offsets[0]) + 1))
    await settled(two, channel, {one.client, two.client})
    assert about(two, channel, "leave") == []


def why_not_ready(instance: Instance) -> str:
    """What its readiness says of Redis."""
    try:
        with urllib.request.urlopen(f"{instance.http}/health/ready", timeout=5):
            return ""
    except urllib.error.HTTPError as error:
        return error.read().decode()


async def test_a_master_without_the_replicas_it_wants_refuses_everything_and_nobody_leaves(
    pair: Cluster, fresh: Fresh, crowd: Crowd
) -> None:
    """`min-replicas-to-write`, for longer than a lease: none is renewed, and nobody may be declared dead either."""
    channel = fresh("open")
    (one,) = await crowd.join(pair[0], channel, "ann")
    (two,) = await crowd.join(pair[1], channel, "bob")
    refusal = {"code": 100, "message": "internal server error", "temporary": True}
    async with Api(pair[1].http) as api:
        await api.say_all(channel, 1, 2)
        pair.redis.configure("min-replicas-to-write", MORE_REPLICAS)
        try:
            await unwell(pair)
            for instance in pair.instances:
                assert "NOREPLICAS" in await asyncio.to_thread(why_not_ready, instance)
            seen = len(one.pings)
            await eventually(lambda: len(one.pings) >= seen + 3, "a lease's time has passed")
            for method, params in (("publish", {"channel": channel, "data": 3}), ("history", {"channel": channel})):
                assert (await one.call(method, **params))["error"] == refusal
            assert (await two.call("subscribe", channel=fresh("quiet")))["error"] == refusal
            with pytest.raises(CentApiResponseError) as told:
                await api.say(channel, 3)
            assert told.value.code == 100
        finally:
            pair.redis.configure("min-replicas-to-write", 0)
        await well(pair)
        await say_again_and_again(api, channel, 3)
    for raw in (one, two):
        await raw.push("pub", channel, data=3)
        assert [(p["offset"], p["data"]) for p in raw.publications(channel)] == [(1, 1), (2, 2), (3, 3)]
        assert raw.pushes(channel, "unsubscribe") == []
    await settled(two, channel, {one.client, two.client})
    assert about(two, channel, "leave") == [] and len(about(one, channel, "join")) == 2


async def told_to_begin_anew(client: RawClient, channel: str) -> None:
    """Wait for the push that ends a subscription whose position is void."""
    push = await client.push("unsubscribe", channel)
    assert push == {"code": 2500, "reason": "insufficient state"}


@on_every_pair
async def test_older_redis_changes_the_epoch_and_tells_the_clients(
    pair: Cluster, fresh: Fresh, crowd: Crowd, make_client: MakeClient
) -> None:
    channel = fresh("open")
    (raw,) = await crowd.join(pair[0], channel, "ann")
    client = make_client(pair[1].url, lambda _: token("sdk"))
    await client.connect()
    await client.subscribe(channel)
    before = (await client.seen.event("subscribed", channel))["stream_position"]["epoch"]
    async with Api(pair[1].http) as api:
        await api.say_all(channel, 1, 2, 3)
        await client.seen.event("publication", channel, data=3)
        snapshot = pair.redis.snapshot()
        await api.say_all(channel, 4, 5, 6)
        await client.seen.event("publication", channel, data=6)
        await raw.push("pub", channel, offset=6)
        await asyncio.to_thread(pair.redis.restore, snapshot)
        await told_to_begin_anew(raw, channel)
        await client.seen.event("subscribing", channel, code=2500)
        again = await client.seen.event("subscribed", channel, was_recovering=True)
        assert again["recovered"] is False
        assert again["stream_position"]["epoch"] != before
        await well(pair)
        await say_again_and_again(api, channel, 7)
        await client.seen.event("publication", channel, data=7)
    assert client.seen.published(channel) == [1, 2, 3, 4, 5, 6, 7]
    assert [p["data"] for p in raw.publications(channel)] == [1, 2, 3, 4, 5, 6]
    assert len(client.seen.named("connected")) == 1


async def test_a_position_beyond_an_older_redis_is_not_recovered_even_if_no_instance_remembers(
    pair: Cluster, fresh: Fresh, crowd: Crowd
) -> None:
    channel = fresh("open")
    (client,) = await crowd.join(pair[0], channel, "ann")
    async with Api(pair[1].http) as api:
        await api.say_all(channel, 1, 2, 3)
        snapshot = pair.redis.snapshot()
        last = await api.say_all(channel, 4, 5, 6)
    await client.push("pub", channel, offset=6)
    for instance in pair.instances:
        instance.kill()
    await asyncio.to_thread(pair.redis.restore, snapshot)
    for instance in pair.instances:
        instance.launch()
    await well(pair)
    position: Message = {"recover": True, "epoch": last.epoch, "offset": last.offset}
    async with RawClient(pair[0].url) as again, Api(pair[1].http) as api:
        await again.connect("ann")
        result = await subscribe_again_and_again(again, channel, **position)
        assert result["was_recovering"] and "recovered" not in result
        assert result["epoch"] != last.epoch
        placed = await api.say(channel, "other data")
        assert (placed.epoch, placed.offset) == (result["epoch"], 1)
        assert await again.push("pub", channel) == {"data": "other data", "offset": 1}
    assert client.publications(channel)


async def test_empty_redis_tells_the_clients_and_presence_comes_back(pair: Cluster, fresh: Fresh, crowd: Crowd) -> None:
    channel, hall = fresh("open"), fresh("hall")
    clients = [*await crowd.join(pair[0], channel, "ann"), *await crowd.join(pair[1], channel, "bob")]
    for client in clients:
        await client.subscribe(hall)
    await eventually(lambda: len(about(clients[0], hall, "join")) == 2, "two joins")
    async with Api(pair[1].http) as api:
        await api.say_all(channel, 1, 2)
        for client in clients:
            await client.push("pub", channel, offset=2)
        await asyncio.to_thread(pair.redis.restore, None)
        for client in clients:
            await told_to_begin_anew(client, channel)
        await well(pair)
        for client in clients:
            result = await subscribe_again_and_again(client, channel, recover=True, offset=2, epoch="gone")
            assert "recovered" not in result
        await say_again_and_again(api, channel, 3)
        await say_again_and_again(api, hall, "here")
        for client in clients:
            await client.push("pub", channel, data=3)
            await client.push("pub", hall, data="here")
    await settled(clients[0], hall, {client.client for client in clients})
    assert about(clients[0], hall, "leave") == []
    assert len(about(clients[0], hall, "join")) == 2


@on_every_pair
async def test_empty_redis_ends_connections_with_server_side_subscriptions_which_come_back(
    pair: Cluster, fresh: Fresh, crowd: Crowd, make_client: MakeClient
) -> None:
    channel, own = fresh("open"), fresh("open")
    client = make_client(pair[0].url, lambda _: token("sdk", channels=[own]))
    await client.connect()
    await client.subscribe(channel)
    await client.seen.event("subscribed", channel)
    async with Api(pair[1].http) as api:
        await api.say(own, 1)
        await client.seen.event("server_publication", own, data=1)
        await asyncio.to_thread(pair.redis.restore, None)
        assert (await client.seen.event("connecting", nth=2))["code"] == 3010
        again = await client.seen.event("server_subscribed", own, nth=2)
        assert (again["was_recovering"], again["recovered"]) == (True, False)
        await client.seen.event("subscribed", channel, nth=2)
        await well(pair)
        await say_again_and_again(api, own, 2)
        await client.seen.event("server_publication", own, data=2)
    (observer,) = await crowd.join(pair[1], own, "eve")
    await settled(observer, own, {observer.client, *_others(await members(observer, own), observer)})


def _others(present: set[str], observer: RawClient) -> set[str]:
    others = present - {observer.client}
    assert len(others) == 1, "the client that came back is there once"
    return others


async def test_a_lie_after_an_orderly_restart_costs_nobody_anything(pair: Cluster, fresh: Fresh, crowd: Crowd) -> None:
    """Whoever claims to have seen more than there is, is answered so; history and everybody else stay as they are."""
    channel = fresh("open")
    (member,) = await crowd.join(pair[0], channel, "ann")
    async with Api(pair[1].http) as api:
        last = await api.say_all(channel, 1, 2, 3)
        await member.push("pub", channel, offset=3)
        await asyncio.to_thread(pair.redis.stop)
        await asyncio.to_thread(pair.redis.start)
        await well(pair)
    async with Api(pair[1].http) as api, RawClient(pair[1].url) as liar:
        await liar.connect("eve")
        result = await subscribe_again_and_again(liar, channel, recover=True, offset=10**9, epoch=last.epoch)
        assert result["was_recovering"] and "recovered" not in result
        assert (result["epoch"], result["offset"]) == (last.epoch, 3)
        await say_again_and_again(api, channel, 4)
        await member.push("pub", channel, offset=4)
        found = (await member.call("history", channel=channel, limit=10))["history"]
        assert [one["data"] for one in found["publications"]] == [1, 2, 3, 4]
    assert not member.pushes(channel, "unsubscribe")


async def test_a_rollback_with_nobody_left_is_never_called_recovered(pair: Cluster, fresh: Fresh) -> None:
    """Redis comes back from a snapshot and no instance remembers; more publications follow than were lost."""
    channel = fresh("open")
    async with Api(pair[1].http) as api:
        await api.say(channel, 1)
        snapshot = pair.redis.snapshot()
        last = await api.say_all(channel, 2, 3)
    for instance in pair.instances:
        instance.kill()
    await asyncio.to_thread(pair.redis.restore, snapshot)
    for instance in pair.instances:
        instance.launch()
    await well(pair)
    async with Api(pair[1].http) as api, RawClient(pair[0].url) as reader:
        for data in ("new 2", "new 3", "new 4"):
            await say_again_and_again(api, channel, data)
        await reader.connect("ann")
        for offset in (1, 2, 3):
            result = await subscribe_again_and_again(reader, channel, recover=True, offset=offset, epoch=last.epoch)
            assert "recovered" not in result and "publications" not in result
            assert result["epoch"] != last.epoch
            await reader.call("unsubscribe", channel=channel)


async def test_asking_for_names_that_do_not_exist_leaves_nothing(pair: Cluster, fresh: Fresh) -> None:
    """Hundreds of them, by history and by subscribing; and the positions given hold for what is published then."""
    await well(pair)
    names = [fresh("open") for _ in range(100)]
    tags = {placement_of(name).tag for name in names}  # the readiness probe, too, keeps a stream for a moment
    with pair.redis.client(decode_responses=True) as connection:

        def kept() -> set[tuple[str, ...]]:
            found = (key.split(":") for key in connection.scan_iter())
            return {tuple(key) for key in found if key[1] in ("meta", "stream") and key[-1] in tags}

        async with RawClient(pair[0].url) as client, Api(pair[1].http) as api:
            await client.connect("ann")
            for name in names:
                assert (await client.call("history", channel=name))["history"]["offset"] == 0
            result = await client.subscribe(names[0])
            assert not kept()
            await client.call("unsubscribe", channel=names[0])
            await api.say_all(names[0], 1, 2, 3)
            assert kept()
            again = await client.subscribe(names[0], recover=True, offset=0, epoch=result["epoch"])
            assert again["recovered"] is True
            assert [one["data"] for one in again["publications"]] == [1, 2, 3]
