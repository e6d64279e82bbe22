"""Commands to connections over two instances: acknowledged by both, with the official clients at the other end."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import cent
import pytest
import pytest_asyncio

from tests.cluster.support import sdk
from tests.cluster.support.api_client import Api
from tests.cluster.support.harness import CONFIG, Cluster, manage, running
from tests.cluster.support.processes import eventually
from tests.cluster.support.raw_client import RawClient, token

pytestmark = pytest.mark.asyncio

Fresh = Callable[[str], str]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two instances: what one is asked, both do."""
    with running(Cluster(tmp_path_factory.mktemp("pair"), CONFIG, "flotilla", "flotilla")) as cluster:
        yield cluster


@pytest_asyncio.fixture
async def api(pair: Cluster) -> AsyncIterator[Api]:
    """The HTTP API at the second instance."""
    async with Api(pair[1].http) as client:
        yield client


async def test_every_command_reaches_connections_of_every_instance(pair: Cluster, fresh: Fresh, api: Api) -> None:
    """A user with a connection at each: subscribed, unsubscribed, refreshed, disconnected, and counted."""
    channel, user = fresh("closed"), fresh("")
    async with RawClient(pair[0].url) as one, RawClient(pair[1].url) as two:
        for client in (one, two):
            await client.connect(user)
        asked: dict[str, Any] = {"user": user, "channel": channel}
        done = await api.subscribe(cent.SubscribeRequest(**asked, data={"a": 1}))
        assert (done.hit, done.answered, done.instances) == (2, 2, 2)  # clients of the API may look, and need not
        for client in (one, two):
            assert (await client.push("subscribe", channel))["data"] == {"a": 1}
        await api.say(channel, "hello")
        for client in (one, two):
            await client.push("pub", channel, data="hello")
        assert (await api.presence(cent.PresenceRequest(channel=channel))).presence.keys() == {one.client, two.client}
        await api.unsubscribe(cent.UnsubscribeRequest(**asked, client=one.client))
        assert await one.push("unsubscribe", channel) == {"code": 2000, "reason": "server unsubscribe"}
        assert two.pushes(channel, "unsubscribe") == []
        done = await api.refresh(cent.RefreshRequest(user=user, client=two.client, expired=True))
        assert await two.closed() == (3005, "connection expired")
        done = await api.disconnect(cent.DisconnectRequest(user=user))
        assert done.hit == 1
        assert await one.closed() == (3503, "force disconnect")


async def test_a_session_of_another_transport_is_nobody(pair: Cluster, fresh: Fresh, api: Api) -> None:
    """And not, by oversight, all of the user's connections."""
    user = fresh("")
    async with RawClient(pair[0].url) as client:
        await client.connect(user)
        assert (await api.disconnect(cent.DisconnectRequest(user=user, session="x"))).hit == 0
        await client.round_trip()


async def test_a_shell_reaches_everybody(pair: Cluster, fresh: Fresh) -> None:
    """`manage.py disconnect` and its kin, from a process that serves nobody."""
    channel = fresh("open")
    async with RawClient(pair[0].url) as one, RawClient(pair[1].url) as two:
        for client in (one, two):
            await client.connect(fresh(""))
            await client.subscribe(channel)
        said = await asyncio.to_thread(manage, pair.env, "unsubscribe", channel)
        assert "2 subscriptions ended; 2 of 2 instances answered" in said
        for client in (one, two):
            await client.push("unsubscribe", channel, code=2000)
        said = await asyncio.to_thread(manage, pair.env, "disconnect", "--client", two.client, "--code", "4321")
        assert "1 connections ended" in said
        assert (await two.closed())[0] == 4321
        await one.round_trip()


async def test_official_clients_see_what_the_server_gives_and_takes(
    pair: Cluster, fresh: Fresh, api: Api, make_client: sdk.MakeClient
) -> None:
    """A subscription that comes while connected, what was missed since a position, its end, and a kick for good."""
    channel, user = fresh("quiet"), fresh("")
    first = await api.say(channel, "seen before")
    await api.say(channel, "missed")
    client = make_client(pair[0].url, lambda _: token(user))
    await client.connect()
    await client.seen.event("connected")
    since = cent.StreamPosition(offset=first.offset, epoch=first.epoch)
    await api.subscribe(cent.SubscribeRequest(user=user, channel=channel, recover_since=since))
    await client.seen.event("server_subscribed", channel)
    await api.say(channel, "live")
    await eventually(lambda: client.seen.published(channel, server_side=True) == ["missed", "live"], "both came")
    await api.unsubscribe(cent.UnsubscribeRequest(user=user, channel=channel))
    await client.seen.event("server_unsubscribed", channel)
    await api.disconnect(cent.DisconnectRequest(user=user))
    await client.seen.event("disconnected", code=3503)


async def test_an_instance_that_does_not_answer_is_not_waited_for_longer(tmp_path: Path, fresh: Fresh) -> None:
    """The caller learns that one of two is missing; what was asked happens there when it goes on."""
    with running(Cluster(tmp_path, {**CONFIG, "lease_ttl": 30}, "flotilla", "flotilla")) as cluster:
        async with RawClient(cluster[0].url) as client, Api(cluster[1].http) as api:
            await client.connect("ann")
            os.kill(cluster[0].pid, signal.SIGSTOP)
            try:
                began = time.monotonic()
                done = await api.disconnect(cent.DisconnectRequest(user="ann"))
                assert (done.hit, done.answered, done.instances) == (0, 1, 2)
                assert time.monotonic() - began >= 1.0
            finally:
                os.kill(cluster[0].pid, signal.SIGCONT)
            assert await client.closed() == (3503, "force disconnect")
