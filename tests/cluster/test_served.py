"""`manage.py serve` under load: a rolling restart moves everybody and loses nothing, a crash is told at once.

A lease is longer here than a test waits for what leaves, so that only the word of the supervisor can be the cause.
"""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack

import pytest
from cent import CentError

from tests.cluster.support.api_client import Api
from tests.cluster.support.harness import CONFIG, Served
from tests.cluster.support.processes import PATIENCE, eventually
from tests.cluster.support.raw_client import RawClient, token
from tests.cluster.support.sdk import SdkClient
from tests.cluster.test_across_instances import about, members

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240)]

Fresh = Callable[[str], str]
LEASE = 15.0  # seconds


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    config = CONFIG | {"lease_ttl": LEASE, "lease_renew": 2}
    served = Served(tmp_path_factory.mktemp("served"), config, DRAIN_DEADLINE="10")
    served.start()
    yield served
    served.stop()


async def publish_until(done: "asyncio.Future[object]", api: Api, channel: str) -> int:
    """One publication after another, each repeated until it was answered; returns how many."""
    number = 0
    while not done.done():
        number += 1
        while True:
            try:
                await api.say(channel, number, idempotency_key=str(number))
                break
            except CentError:  # the connection went to an instance that was just leaving
                await asyncio.sleep(0.05)
    return number


async def test_rolling_restart_under_load_moves_everybody_and_loses_nothing(
    served: Served, fresh: Fresh, both: Callable[..., list[SdkClient]]
) -> None:
    channel = fresh("open")
    before = set(served.pids().values())
    clients = [client for _ in range(3) for client in both(served.url, lambda _: token("sdk"))]
    for client in clients:
        await client.connect()
        await client.subscribe(channel)
    for client in clients:
        await client.seen.event("subscribed", channel)

    async def restart() -> None:
        served.send(signal.SIGHUP)
        await eventually(lambda: "every instance was replaced" in served.tail(), "the restart is over", 3 * PATIENCE)

    restarting = asyncio.ensure_future(restart())
    async with Api(served.http) as api:
        published = await publish_until(restarting, api, channel)
    await restarting
    assert before.isdisjoint(served.pids().values()) and len(served.pids()) == 2
    for client in clients:
        await client.seen.event("publication", channel, offset=published)
        assert client.seen.published(channel) == list(range(1, published + 1))
        assert client.seen.offsets(channel) == list(range(1, published + 1))
        assert not client.seen.named("disconnected") and not client.seen.named("unsubscribed", channel)
        moves = client.seen.named("connecting")[1:]
        assert moves and {move["code"] for move in moves} == {3001}


async def test_connections_of_a_killed_instance_leave_before_its_lease_runs_out(served: Served, fresh: Fresh) -> None:
    """Once, and those of the other stay."""
    channel = fresh("open")
    await eventually(lambda: _uptime(served) > LEASE + 2, "both may reap", 2 * LEASE)
    async with AsyncExitStack() as stack:
        at: dict[str, list[RawClient]] = {}
        while len(at) < 2 or min(map(len, at.values())) < 3:  # the kernel chooses the instance
            client = await stack.enter_async_context(RawClient(served.url))
            at.setdefault((await client.connect("ann"))["data"]["instance"], []).append(client)
            await client.subscribe(channel)
        (victim, lost), (_, stay) = at.items()
        gone = {client.client for client in lost}
        served.crash(victim)
        await eventually(lambda: gone <= set(about(stay[0], channel, "leave")), "they left", LEASE - 5)
        assert await members(stay[0], channel) == {client.client for client in stay}
        await asyncio.to_thread(served.wait_complete)
        await stay[0].round_trip()
        assert sorted(about(stay[0], channel, "leave")) == sorted(gone)


def _uptime(served: Served) -> float:
    """Seconds that the youngest instance has been up; 0 while one is missing."""
    nodes = served.nodes()
    return min((node["uptime"] for node in nodes), default=0) if len(nodes) == 2 else 0
