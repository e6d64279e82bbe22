"""Stream positions and recovery, case by case, and what happens when the layer loses something."""

from collections.abc import Callable
from typing import Any

import pytest
from cent import HistoryRemoveRequest

from flotilla.store import placement_of
from tests.cluster.support.api_client import Api
from tests.cluster.support.driven import on_every_pair
from tests.cluster.support.harness import Cluster
from tests.cluster.support.processes import eventually
from tests.cluster.support.protobuf_client import ProtobufClient
from tests.cluster.support.raw_client import Message, RawClient, token
from tests.cluster.support.sdk import MakeClient

pytestmark = pytest.mark.asyncio

Fresh = Callable[[str], str]


@pytest.mark.parametrize(
    ("namespace", "published", "position", "recovered"),
    [
        pytest.param("open", 7, {"offset": 7}, [], id="nothing missed"),
        pytest.param("open", 7, {"offset": 4}, [5, 6, 7], id="some missed"),
        pytest.param("open", 0, {"offset": 0}, [], id="an empty stream"),
        pytest.param("open", 300, {"offset": 0}, list(range(1, 301)), id="as many as may be recovered"),
        pytest.param("open", 301, {"offset": 0}, None, id="one more than may be recovered"),
        pytest.param("small", 9, {"offset": 4}, [5, 6, 7, 8, 9], id="exactly what history holds"),
        pytest.param("small", 9, {"offset": 3}, None, id="one more than history holds"),
        pytest.param("open", 7, {"offset": 4, "epoch": "other"}, None, id="another epoch"),
        pytest.param("open", 7, {"offset": 8}, None, id="above the top"),
        pytest.param("open", 7, {"offset": 0, "epoch": ""}, [1, 2, 3, 4, 5, 6, 7], id="all from nothing"),
        pytest.param("small", 7, {"offset": 0, "epoch": ""}, None, id="all from nothing, the first is gone"),
        pytest.param("open", 7, {"offset": 0, "epoch": "_"}, None, id="an invalidated position"),
        pytest.param("brief", 3, {"offset": 1}, None, id="publications expired"),
        pytest.param("brief", 3, {"offset": 3}, [], id="publications expired, nothing missed"),
        pytest.param("removed", 3, {"offset": 1}, None, id="history removed"),
        pytest.param("removed", 3, {"offset": 3}, [], id="history removed, nothing missed"),
    ],
)
@pytest.mark.parametrize("speaks", [RawClient, ProtobufClient], ids=["json", "protobuf"])
async def test_recovery(
    cluster: Cluster,
    fresh: Fresh,
    api: Api,
    speaks: type[RawClient],
    namespace: str,
    published: int,
    position: dict[str, Any],
    recovered: list[int] | None,
) -> None:
    channel = fresh("open" if namespace == "removed" else namespace)
    async with speaks(cluster[0].url) as client:
        await client.connect("ann")
        epoch = (await client.call("history", channel=channel))["history"]["epoch"]
        if published:
            await api.say_all(channel, *range(1, published + 1))
        if namespace == "removed":
            await api.history_remove(HistoryRemoveRequest(channel=channel))
        if namespace == "brief":
            await _until_forgotten(client, channel)
        wish = {"channel": channel, "recover": True, "epoch": epoch, **position}
        if recovered is None:
            assert await client.error("subscribe", flag=2, **wish) == 112
        result = await client.subscribe(**wish)
        assert result["was_recovering"] is True
        assert result["epoch"] == epoch
        if recovered is None:
            assert "recovered" not in result and "publications" not in result
            assert result.get("offset", 0) == published
        else:
            assert result["recovered"] is True
            assert result.get("offset", 0) == position["offset"]
            assert [p["offset"] for p in result.get("publications", [])] == recovered
            assert [p["data"] for p in result.get("publications", [])] == recovered
        await api.say(channel, "next")
        assert (await client.push("pub", channel))["offset"] == published + 1


async def _until_forgotten(client: RawClient, channel: str) -> None:
    async def forgotten() -> bool:
        return not (await client.call("history", channel=channel, limit=1))["history"]["publications"]

    await eventually(forgotten, "nothing is kept")


async def test_server_side_subscriptions_recover_through_connect(cluster: Cluster, api: Api) -> None:
    async with RawClient(cluster[0].url) as client:
        result = await client.connect(token=token("sue", channels=["own-room"]))
        assert set(result["subs"]) == {"own-room", "#sue"}
        epoch = result["subs"]["own-room"]["epoch"]
    await api.say_all("own-room", *range(1, 4))
    async with RawClient(cluster[1].url) as client:
        known = {"recover": True, "epoch": epoch, "offset": 1}
        result = await client.connect(
            token=token("sue", channels=["own-room"]), subs={"own-room": known, "gone": known}
        )
        sub = result["subs"]["own-room"]
        assert (sub["was_recovering"], sub["recovered"], sub["offset"]) == (True, True, 1)
        assert [p["data"] for p in sub["publications"]] == [2, 3]
        assert set(result["subs"]) == {"own-room", "#sue"}


def raw_keys(channel: str) -> tuple[str, str]:
    """The keys of a channel's stream in Redis, to do to it what no client can."""
    placement = placement_of(channel)
    return placement.key("meta"), placement.key("stream")


def publish_unannounced(cluster: Cluster, channel: str, data: int, *, stored: bool = True) -> None:
    """A publication whose message the channel layer has lost (and, not stored, history as well)."""
    meta, stream = raw_keys(channel)
    with cluster.redis.client() as connection:
        offset = connection.hincrby(meta, "t", 1)
        if stored:
            connection.xadd(stream, {"d": b'{"data":%d}' % data}, id=f"{offset}-0")


async def test_a_lost_message_is_filled_in_before_the_next_one(cluster: Cluster, fresh: Fresh, api: Api) -> None:
    channel = fresh("open")
    async with RawClient(cluster[0].url) as client:
        await client.connect("ann")
        await client.subscribe(channel)
        await api.say(channel, 1)
        publish_unannounced(cluster, channel, 2)
        publish_unannounced(cluster, channel, 3)
        await api.say(channel, 4)
        await client.push("pub", channel, offset=4)
        assert [(p["offset"], p["data"]) for p in client.publications(channel)] == [(1, 1), (2, 2), (3, 3), (4, 4)]


async def test_a_lost_message_on_an_idle_channel_is_found(cluster: Cluster, fresh: Fresh, api: Api) -> None:
    channel = fresh("open")
    async with RawClient(cluster[0].url) as client:
        await client.connect("ann")
        await client.subscribe(channel)
        await api.say(channel, 1)
        await client.push("pub", channel, offset=1)
        publish_unannounced(cluster, channel, 2)
        assert (await client.push("pub", channel, offset=2))["data"] == 2


async def test_what_history_lost_too_is_told_with_2500(cluster: Cluster, fresh: Fresh, api: Api) -> None:
    channel = fresh("open")
    async with RawClient(cluster[0].url) as client:
        await client.connect("ann")
        result = await client.subscribe(channel)
        await api.say(channel, 1)
        publish_unannounced(cluster, channel, 2, stored=False)
        await api.say(channel, 3)
        assert await client.push("unsubscribe", channel) == {"code": 2500, "reason": "insufficient state"}
        assert [p["offset"] for p in client.publications(channel)] == [1]
        again = await client.subscribe(channel, recover=True, offset=1, epoch=result["epoch"])
        assert again["was_recovering"] and "recovered" not in again and again["offset"] == 3


async def test_what_a_server_side_subscription_lost_is_told_with_3010(cluster: Cluster, api: Api) -> None:
    async with RawClient(cluster[0].url) as client:
        await client.connect("lea")
        await api.say("#lea", 1)
        publish_unannounced(cluster, "#lea", 2, stored=False)
        await api.say("#lea", 3)
        assert (await client.closed())[0] == 3010
        assert [p["offset"] for p in client.publications("#lea")] == [1]


async def test_a_cut_pubsub_connection_loses_nothing(cluster: Cluster, fresh: Fresh, api: Api) -> None:
    channel, total = fresh("open"), 200
    async with RawClient(cluster[0].url) as one, RawClient(cluster[1].url) as two:
        for client in (one, two):
            await client.connect("ann")
            await client.subscribe(channel)
        for n in range(1, total + 1):
            if n % 50 == 25:
                cluster.redis.drop_subscribers()
            await api.say(channel, n)
        for client in (one, two):
            await client.push("pub", channel, offset=total)
            assert [p["data"] for p in client.publications(channel)] == list(range(1, total + 1))


@on_every_pair
async def test_sdk_is_told_and_reloads_when_it_cannot_be_recovered(
    cluster: Cluster, fresh: Fresh, api: Api, make_client: MakeClient
) -> None:
    channel = fresh("small")
    client = make_client(cluster[0].url, lambda _: token("ann"))
    await client.connect()
    await client.subscribe(channel)
    await client.seen.event("subscribed", channel)
    await api.say(channel, 1)
    await client.seen.event("publication", channel)
    await client.disconnect()
    await client.seen.event("disconnected")
    await api.say_all(channel, *range(2, 5))
    await client.connect()
    await client.seen.event("subscribed", channel, was_recovering=True, recovered=True)
    await eventually(lambda: client.seen.published(channel) == [1, 2, 3, 4], "all four publications")
    await client.disconnect()
    await api.say_all(channel, *range(5, 12))
    await client.connect()
    await client.seen.event("subscribed", channel, was_recovering=True, recovered=False)
    await api.say(channel, 12)
    await client.seen.event("publication", channel, data=12)
    assert client.seen.published(channel) == [1, 2, 3, 4, 12]


@on_every_pair
async def test_sdk_resubscribes_after_2500(cluster: Cluster, fresh: Fresh, api: Api, make_client: MakeClient) -> None:
    channel = fresh("open")
    client = make_client(cluster[0].url, lambda _: token("ann"))
    await client.connect()
    await client.subscribe(channel)
    await client.seen.event("subscribed", channel)
    await api.say(channel, 1)
    await client.seen.event("publication", channel)
    publish_unannounced(cluster, channel, 2, stored=False)
    await api.say(channel, 3)
    await client.seen.event("subscribing", channel, code=2500)
    again: Message = await client.seen.event("subscribed", channel, was_recovering=True)
    assert again["recovered"] is False
    await api.say(channel, 4)
    await client.seen.event("publication", channel, data=4)
