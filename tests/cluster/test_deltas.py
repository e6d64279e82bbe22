"""Deltas over two instances, as the official clients apply them: nothing is lost, doubled or garbled, whatever goes."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import cent
import centrifuge
import pytest

from tests.cluster.support.api_client import Api
from tests.cluster.support.door import Door
from tests.cluster.support.driven import on_every_pair
from tests.cluster.support.harness import CONFIG, Cluster, running
from tests.cluster.support.processes import eventually
from tests.cluster.support.protobuf_client import ProtobufClient
from tests.cluster.support.raw_client import RawClient, token
from tests.cluster.support.sdk import MakeClient, PythonClient, SdkClient

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(150)]

DELTAS = {"allow_subscribe_for_client": True, "allow_publish_for_client": True, "allowed_delta_types": ["fossil"]}
KEPT = {"history_size": 1000, "history_ttl": "5m", "force_recovery": True}
NAMESPACES = {
    "prices": DELTAS | KEPT | {"delta_publish": True},
    "asked": DELTAS | KEPT,
    "passing": DELTAS | {"delta_publish": True},
}


@pytest.fixture(scope="module")
def module_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    config = CONFIG | {"namespaces": CONFIG["namespaces"] | NAMESPACES}
    with running(Cluster(tmp_path_factory.mktemp("deltas"), config, "flotilla", "flotilla")) as cluster:
        yield cluster


def fresh(namespace: str) -> str:
    return f"{namespace}:{secrets.token_hex(6)}"


def prices(number: int) -> dict[str, Any]:
    """A payload of a few kilobytes, of which little changes; not all of it is ASCII."""
    rows = [{"symbol": f"S{i}", "price": (number if i == number % 40 else i) * 1.25, "unit": "€"} for i in range(40)]
    return {"n": number, "rows": rows, "text": "größer 🚀"[: number % 10]}


async def entered(client: SdkClient, channel: str, delta: bool = True) -> None:
    """Connect, and subscribe with deltas."""
    await client.connect()
    kind = centrifuge.DeltaType.FOSSIL if isinstance(client, PythonClient) else "fossil"
    await client.subscribe(channel, **({"delta": kind} if delta else {}))
    await client.seen.event("subscribed", channel)


@asynccontextmanager
async def looking_on(pair: Cluster, channel: str) -> AsyncIterator[list[RawClient]]:
    """Clients with deltas at both instances, of both encodings, that only see what comes over the wire."""
    async with AsyncExitStack() as stack:
        wires = []
        for kind in (RawClient, ProtobufClient):
            for instance in pair.instances:
                wires.append(wire := await stack.enter_async_context(kind(instance.url)))
                await wire.connect("eve")
                assert (await wire.subscribe(channel, delta="fossil"))["delta"] is True
        yield wires


async def deltas(wire: RawClient, channel: str, count: int) -> int:
    """How many of so many publications came as deltas."""
    await eventually(lambda: len(wire.publications(channel)) == count, f"{count} publications")
    return sum(one.get("delta", False) for one in wire.publications(channel))


async def has(client: SdkClient, channel: str, *numbers: int) -> None:
    """It is given these, whole and in order, and nothing else."""
    await eventually(
        lambda: len(client.seen.published(channel)) >= len(numbers), f"{len(numbers)} publications in {channel}"
    )
    assert client.seen.published(channel) == [prices(number) for number in numbers]


@on_every_pair
@pytest.mark.parametrize("namespace", ["prices", "passing"])
async def test_what_one_instance_is_told_comes_from_both_as_deltas(
    pair: Cluster, make_client: MakeClient, namespace: str
) -> None:
    """Beside clients without deltas, with history and without, one at a time and together."""
    channel = fresh(namespace)
    clients = [make_client(instance.url, lambda _: token("ann")) for instance in pair.instances]
    plain = make_client(pair[0].url, lambda _: token("bob"))
    for client in clients:
        await entered(client, channel)
    await entered(plain, channel, delta=False)
    async with Api(pair[1].http) as api, looking_on(pair, channel) as wires:
        for number in range(5):
            await api.say(channel, prices(number))
        await api.say_all(channel, *(prices(number) for number in range(5, 30)))
        await clients[0].publish(channel, prices(30))
        for client in (*clients, plain):
            await has(client, channel, *range(31))
        for wire in wires:
            assert await deltas(wire, channel, 31) >= 29  # SDKs write JSON in their own ways


async def test_publications_that_ask_for_deltas_are_sent_as_such(pair: Cluster, make_client: MakeClient) -> None:
    channel = fresh("asked")
    client = make_client(pair[0].url, lambda _: token("ann"))
    await entered(client, channel)
    async with Api(pair[1].http) as api, looking_on(pair, channel) as wires:
        for number in range(6):
            await api.say(channel, prices(number), **({"delta": True} if number in (2, 3, 5) else {}))
        await has(client, channel, *range(6))
        assert [await deltas(wire, channel, 6) for wire in wires] == [3] * 4


@on_every_pair
async def test_client_of_a_killed_instance_goes_on_at_the_other(
    pair: Cluster, door: Door, make_client: MakeClient
) -> None:
    """It recovers what it has missed there, and applies deltas to that."""
    channel = fresh("prices")
    client = make_client(door.url, lambda _: token("ann"))
    other = make_client(pair[1].url, lambda _: token("bob"))
    await entered(client, channel)
    await entered(other, channel)
    async with Api(pair[1].http) as api:
        await api.say_all(channel, *(prices(number) for number in range(10)))
        await has(client, channel, *range(10))
        door.only()
        pair[0].kill()
        await api.say_all(channel, *(prices(number) for number in range(10, 40)))
        door.only(pair[1].port)
        await client.seen.event("subscribed", channel, recovered=True)
        for number in range(40, 50):
            await api.say(channel, prices(number))
        await has(client, channel, *range(50))
        await has(other, channel, *range(50))
    assert client.seen.instance == "flotilla-1"


async def test_clients_that_come_and_go_while_others_publish_have_everything(
    pair: Cluster, make_client: MakeClient
) -> None:
    """Cut off again and again, and back at one instance or the other."""
    channel, last = fresh("prices"), 400
    async with Door(pair[0].port, pair[1].port) as door, Api(pair[0].http) as one, Api(pair[1].http) as two:
        clients = [make_client(door.url, lambda _: token("ann")) for _ in range(6)]
        for client in clients:
            await entered(client, channel, delta=client is not clients[0])
        published = 0

        async def publish() -> None:
            nonlocal published
            while published < last:
                await (one, two)[published % 2].say(channel, prices(published))
                published += 1

        publishing = asyncio.create_task(publish())
        for after in (50, 100, 150, 200, 250):
            await eventually(lambda after=after: published >= after, f"{after} publications")  # type: ignore[misc]
            door.cut()
        await publishing
        for client in clients:
            await has(client, channel, *range(last))


async def test_what_is_not_kept_is_delivered_in_the_chain(pair: Cluster, make_client: MakeClient) -> None:
    channel = fresh("prices")
    client = make_client(pair[0].url, lambda _: token("ann"))
    await entered(client, channel)
    async with Api(pair[1].http) as api, looking_on(pair, channel) as wires:
        for number in range(6):
            request = cent.PublishRequest(channel=channel, data=prices(number), skip_history=number % 2 == 1)
            await api.publish(request)
        await has(client, channel, *range(6))
        assert [await deltas(wire, channel, 6) for wire in wires] == [5] * 4


@pytest.mark.parametrize("namespace", ["prices", "passing"])
async def test_newcomer_has_whole_publications_until_it_can_apply_deltas(
    pair: Cluster, make_client: MakeClient, namespace: str
) -> None:
    """Others are in the middle of their deltas; it comes back after it has missed some on purpose."""
    channel = fresh(namespace)
    first, second = (make_client(instance.url, lambda _: token("ann")) for instance in pair.instances)
    async with Api(pair[1].http) as api:
        await entered(first, channel)
        await api.say_all(channel, *map(prices, range(5)))
        await has(first, channel, *range(5))
        await entered(second, channel)
        await api.say_all(channel, *map(prices, range(5, 10)))
        await has(second, channel, *range(5, 10))
        third = make_client(pair[0].url, lambda _: token("bob"))
        await entered(third, channel)
        await api.say_all(channel, *map(prices, range(10, 15)))
        await has(third, channel, *range(10, 15))
        await third.unsubscribe(channel)
        await third.seen.event("unsubscribed", channel)
        await api.say_all(channel, *map(prices, range(15, 20)))
        await has(first, channel, *range(20))
        await third.resubscribe(channel)
        await third.seen.event("subscribed", channel, nth=2)
        await api.say_all(channel, *map(prices, range(20, 25)))
        missed = range(15, 25) if namespace == "prices" else range(20, 25)
        await has(third, channel, *range(10, 15), *missed)
    await has(first, channel, *range(25))
    await has(second, channel, *range(5, 25))


async def test_protobuf_client_applies_deltas_to_bytes(pair: Cluster, door: Door) -> None:
    """Beside others; cut off, it recovers and goes on."""
    channel = fresh("prices")
    client = PythonClient(door.url, lambda _: token("ann"), use_protobuf=True)
    async with Api(pair[1].http) as api, looking_on(pair, channel) as wires:
        await entered(client, channel)
        await api.say_all(channel, *map(prices, range(10)))
        await client.seen.event("publication", channel, nth=10)
        door.only()
        door.cut()
        await client.seen.event("connecting", nth=2)
        await api.say_all(channel, *map(prices, range(10, 20)))
        door.only(pair[1].port)
        await client.seen.event("subscribed", channel, recovered=True)
        await api.say_all(channel, *map(prices, range(20, 30)))
        await client.seen.event("publication", channel, nth=30)
        assert [json.loads(data) for data in client.seen.published(channel)] == [prices(n) for n in range(30)]
        assert sum(event["delta"] for event in client.seen.named("publication", channel)) >= 18
        assert [await deltas(wire, channel, 30) for wire in wires] == [29] * 4
    await client.close()
