"""Tags filters and recovery from the cache, with the official clients, across instances."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.cluster.support.api_client import Api
from tests.cluster.support.driven import PAIRS, Node, Pair, on_every_pair
from tests.cluster.support.harness import Cluster
from tests.cluster.support.processes import eventually
from tests.cluster.support.raw_client import RawClient, token
from tests.cluster.support.sdk import MakeClient, SdkClient

pytestmark = pytest.mark.asyncio

Fresh = Callable[[str], str]
BTC = {"key": "ticker", "cmp": "eq", "val": "BTC"}
DEAR = {"op": "and", "nodes": [BTC, {"key": "price", "cmp": "gte", "val": "100.5"}]}


def ann(_: str) -> str:
    return token("ann")


async def trade(api: Api, channel: str, *trades: tuple[str, str]) -> None:
    for ticker, price in trades:
        await api.say(channel, f"{ticker} {price}", tags={"ticker": ticker, "price": price})


@pytest.mark.parametrize("pair", PAIRS, ids=str)
async def test_javascript_clients_get_what_their_filters_want(
    cluster: Cluster, fresh: Fresh, api: Api, node: Node, pair: Pair
) -> None:
    """Live and recovered: a client that was away comes back to another instance and misses nothing that is for it."""
    channel = fresh("tagged")
    btc, dear = node.client(cluster[0].url, ann, pair=pair), node.client(cluster[1].url, ann, pair=pair)
    everything = node.client(cluster[1].url, ann)
    for client, tags_filter in ((btc, BTC), (dear, DEAR), (everything, None)):
        await client.connect()
        await client.subscribe(channel, **({"tags_filter": tags_filter} if tags_filter else {}))
        await client.seen.event("subscribed", channel)
    await trade(api, channel, ("BTC", "99"), ("ETH", "200"), ("BTC", "100.50"), ("SOL", "7"))
    await eventually(lambda: len(everything.seen.published(channel)) == 4, "everything")
    await eventually(lambda: btc.seen.published(channel) == ["BTC 99", "BTC 100.50"], "what BTC wants")
    await eventually(lambda: dear.seen.published(channel) == ["BTC 100.50"], "what is dear")
    assert (await btc.seen.event("publication", channel))["tags"] == {"ticker": "BTC", "price": "99"}

    await btc.disconnect()
    await trade(api, channel, ("ETH", "201"), ("BTC", "101"), ("ETH", "202"))
    await btc.connect()
    again = await btc.seen.event("subscribed", channel, nth=2)
    assert (again["was_recovering"], again["recovered"]) == (True, True)
    await trade(api, channel, ("ETH", "203"), ("BTC", "102"))
    await eventually(lambda: len(btc.seen.published(channel)) == 4, "what follows")
    assert btc.seen.offsets(channel) == [1, 3, 6, 9]
    assert not btc.seen.named("unsubscribed") and len(btc.seen.named("subscribed", channel)) == 2


async def test_a_filter_that_cannot_be_used_is_told(cluster: Cluster, fresh: Fresh, node: Node) -> None:
    client = node.client(cluster[0].url, ann)
    await client.connect()
    channel = fresh("tagged")
    await client.subscribe(channel, tags_filter={"key": "ticker", "cmp": "eq"})
    assert (await client.seen.event("unsubscribed", channel))["code"] == 107
    plain = fresh("open")
    await client.subscribe(plain, tags_filter=BTC)
    assert (await client.seen.event("unsubscribed", plain))["code"] == 107


async def test_every_server_filters(cluster: Cluster, fresh: Fresh, api: Api) -> None:
    """Whichever way its frames take: each client gets what it wants, and no gap is found in it."""
    channel = fresh("tagged")
    clients = [RawClient(url) for url in (cluster[number].url for number in range(5))]
    async with AsyncExitStack() as stack:
        for number, client in enumerate(clients):
            await stack.enter_async_context(client)
            await client.connect("ann")
            await client.subscribe(channel, tf={"key": "of", "cmp": "in", "vals": [str(number), "all"]})
        for number in [0, 1, 2, 3, 4] * 3:
            await api.say(channel, number, tags={"of": str(number)})
        await api.say(channel, "end", tags={"of": "all"})
        for number, client in enumerate(clients):
            await client.push("pub", channel, data="end")
            assert [one["data"] for one in client.publications(channel)] == [number] * 3 + ["end"]


@on_every_pair
async def test_the_newest_comes_at_once(cluster: Cluster, fresh: Fresh, api: Api, make_client: MakeClient) -> None:
    """At the first subscribe, and after each absence."""
    await _follow(make_client(cluster[0].url, ann), api, fresh("ticker"))


async def test_the_newest_comes_at_once_to_who_asks(cluster: Cluster, fresh: Fresh, api: Api, node: Node) -> None:
    """With a position that says nothing."""
    await _follow(node.client(cluster[0].url, ann), api, fresh("price"), since={"offset": 0, "epoch": ""})


async def _follow(client: SdkClient, api: Api, channel: str, **wish: Any) -> None:
    for price in range(1, 9):
        await api.say(channel, price)
    await client.connect()
    await client.subscribe(channel, **wish)
    first = await client.seen.event("subscribed", channel)
    assert (first["was_recovering"], first["recovered"]) == (True, True)
    await eventually(lambda: client.seen.published(channel) == [8], "the newest")
    await client.disconnect()
    for price in range(9, 30):
        await api.say(channel, price)
    await client.connect()
    assert (await client.seen.event("subscribed", channel, nth=2))["recovered"] is True
    await eventually(lambda: client.seen.published(channel) == [8, 29], "the newest again")
    await api.say(channel, 30)
    await eventually(lambda: client.seen.published(channel) == [8, 29, 30], "what follows")
