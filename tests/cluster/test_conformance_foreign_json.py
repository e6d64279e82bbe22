"""Unusual but valid JSON, bad subscription tokens and far ends, as the official clients meet them."""

import json
from collections.abc import Callable
from typing import Any

import cent
import pytest

from tests.cluster.support.harness import API_KEY, Cluster
from tests.cluster.support.processes import eventually
from tests.cluster.support.raw_client import RawClient, token
from tests.cluster.support.sdk import CommandFailed, MakeClient, SdkClient

pytestmark = pytest.mark.asyncio

Fresh = Callable[[str], str]
Both = Callable[..., list[SdkClient]]
YEAR = 365 * 24 * 3600


async def test_sdks_send_half_an_emoji_and_get_it(cluster: Cluster, fresh: Fresh, both: Both) -> None:
    """JavaScript's `slice` makes such texts; each client gets them from the other, through both instances."""
    channel = fresh("open")
    clients = [both(node.url, lambda _: token("ann"))[i] for i, node in enumerate((cluster[0], cluster[1]))]
    for client in clients:
        await client.connect()
        await client.subscribe(channel)
        await client.seen.event("subscribed", channel)
    said = ["cut \ud83d", {"\ude00": ["\ud83d"]}, "whole \U0001f600"]
    for client in clients:
        for data in said:
            await client.publish(channel, data)
    for client in clients:
        await eventually(lambda c=client: len(c.seen.published(channel)) == 6, "all publications came")  # type: ignore[misc]
        assert client.seen.published(channel) == said * 2
        found = await client.history(channel, limit=10)
        assert [one["data"] for one in found["publications"]] == said * 2
        with pytest.raises(CommandFailed) as caught:
            await client.presence(f"{channel}\ud83d")
        assert caught.value.code == 107
        assert len(client.seen.named("connected")) == 1 and not client.seen.named("disconnected")


async def test_sdk_with_a_bad_subscription_token_loses_that_subscription_alone(
    cluster: Cluster, fresh: Fresh, make_client: MakeClient
) -> None:
    """103, at subscribe and at refresh."""
    bad, kept, lost = fresh("$open"), fresh("open"), fresh("$open")
    given: list[str] = []

    def for_a_while(channel: str) -> str:
        given.append(channel)
        return token("ann", channel=channel, ttl=3) if len(given) == 1 else token("ann")

    client = make_client(cluster[0].url, lambda _: token("ann"))
    await client.connect()
    await client.subscribe(bad, token=lambda _: "garbage")
    await client.subscribe(kept)
    await client.subscribe(lost, token=for_a_while)
    assert (await client.seen.event("unsubscribed", bad))["code"] == 103
    await client.seen.event("subscribed", kept)
    await client.seen.event("subscribed", lost)
    assert (await client.seen.event("unsubscribed", lost))["code"] == 103
    await client.publish(kept, "still here")
    await client.seen.event("publication", kept, data="still here")
    assert not client.seen.named("disconnected") and len(client.seen.named("connected")) == 1


async def test_sdk_follows_its_refreshed_token(cluster: Cluster, fresh: Fresh, make_client: MakeClient) -> None:
    """What the first token gave ends, what the second gives begins, and its info counts."""
    old, new, room = fresh("open"), fresh("open"), fresh("open")
    given: list[str] = []

    def give(_: str) -> str:
        given.append("")
        if len(given) == 1:
            return token("tim", ttl=3, channels=[old], info={"n": 1})
        return token("tim", ttl=3600, channels=[new], info={"n": 2})

    client = make_client(cluster[0].url, give)
    await client.connect()
    await client.seen.event("server_subscribed", old)
    await client.subscribe(room)
    await client.seen.event("server_unsubscribed", old)
    await client.seen.event("server_subscribed", new)
    await client.publish(room, 1)
    assert (await client.seen.event("publication", room))["info"]["conn_info"] == {"n": 2}
    assert [one["conn_info"] for one in (await client.presence(room))["clients"].values()] == [{"n": 2}]
    assert len(client.seen.named("connected")) == 1 and not client.seen.named("disconnected")


@pytest.mark.parametrize("end", [4102444800000, 1e300, "99999999999"])
async def test_a_far_end_fits_every_client(cluster: Cluster, fresh: Fresh, end: Any) -> None:
    """`ttl` is an unsigned number of 32 bits: a year at most."""
    channel = fresh("$open")
    async with RawClient(cluster[0].url) as client:
        assert (await client.connect(token=token("ann", exp=end)))["ttl"] == YEAR
        assert (await client.call("refresh", token=token("ann", exp=end)))["refresh"]["ttl"] == YEAR
        given = token("ann", channel=channel, exp=end)
        assert (await client.subscribe(channel, token=given))["ttl"] == YEAR
        assert (await client.call("sub_refresh", channel=channel, token=given))["sub_refresh"]["ttl"] == YEAR


async def test_the_api_client_gives_versions_and_half_an_emoji(cluster: Cluster, fresh: Fresh) -> None:
    """Through two instances: the older version is dropped and answered with the position."""
    channel = fresh("open")
    one, two = (cent.AsyncClient(f"{cluster[i].http}/api", API_KEY) for i in (0, 1))
    try:
        first = await one.publish(
            cent.PublishRequest(channel=channel, data={"t": "\ud83d"}, version=2, version_epoch="a")
        )
        for version in (1, 2):
            request = cent.PublishRequest(channel=channel, data="old", version=version, version_epoch="a")
            assert await two.publish(request) == first
        again = await two.publish(cent.PublishRequest(channel=channel, data=3, version=1, version_epoch="b"))
        assert (again.offset, again.epoch) == (2, first.epoch)
        found = await one.history(cent.HistoryRequest(channel=channel, limit=10))
        assert [json.dumps(publication.data) for publication in found.publications] == ['{"t": "\\ud83d"}', "3"]
    finally:
        await one.close()
        await two.close()
