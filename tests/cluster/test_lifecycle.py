"""What a project's receivers are told while instances are killed and stopped, and presence under a client's bursts."""

import asyncio
import json
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.cluster.support import driven
from tests.cluster.support.harness import CONFIG, Cluster, Instance, running
from tests.cluster.support.processes import eventually
from tests.cluster.support.raw_client import RawClient, token

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(150)]

PATIENT = {"ping_interval": 60, "pong_timeout": 30, "connect_timeout": 15}


class Notes:
    """What the receivers of both instances wrote down."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def of(self, what: str, reason: str | None = None) -> Counter[str]:
        """How often each client was told."""
        lines = [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []
        found = [line for line in lines if line["what"] == what and reason in (None, line["reason"])]
        return Counter(line["client"] for line in found)


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path / "lifecycle.jsonl")


@pytest.fixture
def pair(tmp_path: Path, notes: Notes) -> Iterator[Cluster]:
    """Two instances whose receivers of `on_disconnect` take 60 ms."""
    config = CONFIG | PATIENT
    with running(Cluster(tmp_path, config, "flotilla", "flotilla", CLUSTERAPP_LIFECYCLE=str(notes.path))) as cluster:
        yield cluster


async def enter(stack: AsyncExitStack, instance: Instance, channel: str, count: int) -> list[RawClient]:
    found = []
    for number in range(count):
        client = await stack.enter_async_context(RawClient(instance.url))
        await client.connect(f"user-{number}")
        await client.subscribe(channel)
        found.append(client)
    return found


def leaves(client: RawClient, channel: str) -> list[str]:
    return [body["info"]["client"] for _, body in client.pushes(channel, "leave")]


async def test_each_client_of_a_killed_instance_is_told_once(
    pair: Cluster, notes: Notes, fresh: Callable[[str], str]
) -> None:
    """Others see all of them leave before the receivers have come to the last."""
    channel = fresh("open")
    async with AsyncExitStack() as stack:
        (observer,) = await enter(stack, pair[1], channel, 1)
        lost = {client.client: 1 for client in await enter(stack, pair[0], channel, 120)}
        pair[0].kill()
        await eventually(lambda: len(leaves(observer, channel)) >= len(lost), "all left")
        assert Counter(leaves(observer, channel)) == lost
        await eventually(lambda: sum(notes.of("disconnect").values()) >= len(lost), "all were told")
        assert notes.of("disconnect", "instance lost") == notes.of("disconnect") == lost


async def test_each_client_that_leaves_a_stopped_instance_is_told_once(
    pair: Cluster, notes: Notes, fresh: Callable[[str], str]
) -> None:
    """By another, which has reaped it; not again when it goes on and finds its sockets closed."""
    channel = fresh("open")
    async with AsyncExitStack() as stack:
        (observer,) = await enter(stack, pair[1], channel, 1)
        clients = await enter(stack, pair[0], channel, 20)
        pair[0].send(signal.SIGSTOP)
        for client in clients[:10]:
            client.abort()
        await eventually(lambda: len(leaves(observer, channel)) >= 20, "all left")
        pair[0].send(signal.SIGCONT)
        for client in clients[10:]:
            assert (await client.closed())[0] == 3011
        await asyncio.to_thread(pair[0].wait_ready)
        (late,) = await enter(stack, pair[0], channel, 1)
        late.abort()
        gone = {client.client: 1 for client in (*clients, late)}
        await eventually(lambda: notes.of("disconnect").keys() >= gone.keys(), "all were told, the last one, too")
        assert notes.of("disconnect") == gone
        assert notes.of("connect") == gone | {observer.client: 1}


async def test_javascript_client_that_bounces_is_present(
    cluster: Cluster, node: driven.Node, fresh: Callable[[str], str]
) -> None:
    """`subscribe(); unsubscribe(); subscribe()`: subscribed, and in presence, each time."""
    client = node.client(cluster[0].url, lambda _: token("ann"))
    await client.connect()
    await client.seen.event("connected")
    for _ in range(10):
        channel = fresh("open")
        await client.bounce(channel)
        await client.seen.event("subscribed", channel)
        async with RawClient(cluster[1].url) as observer:
            await observer.connect("eve")
            await observer.subscribe(channel)

            async def is_present(observer: RawClient = observer, channel: str = channel) -> bool:
                found = await observer.call("presence", channel=channel)
                return client.seen.client in found["presence"]["presence"]

            await eventually(is_present, "it is present")
        await client.unsubscribe(channel)
