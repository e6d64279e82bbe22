"""The HTTP API over real instances, with the official client and without."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import cent
import pytest
import pytest_asyncio

from tests.cluster.support.api_client import Api
from tests.cluster.support.harness import API_KEY, Cluster
from tests.cluster.support.raw_client import RawClient

pytestmark = pytest.mark.asyncio

Fresh = Callable[[str], str]


@pytest_asyncio.fixture
async def http(cluster: Cluster) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cluster[0].http) as session:
        yield session


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status"),
    [
        ("POST", "/api/info", {}, "{}", 401),
        ("POST", "/api/info", {"X-API-Key": "wrong"}, "{}", 401),
        ("POST", "/api/info?api_key=KEY", {}, "{}", 401),
        ("POST", "/api/info", {"X-API-Key": "KEY"}, "{", 400),
        ("POST", "/api/info", {"X-API-Key": "KEY"}, "", 200),
        ("POST", "/api/info", {"Authorization": "apikey KEY"}, "{}", 200),
        ("GET", "/api/info", {"X-API-Key": "KEY"}, "", 405),
        ("POST", "/api/sing", {"X-API-Key": "KEY"}, "{}", 404),
    ],
)
async def test_statuses_without_redirects(
    http: aiohttp.ClientSession, method: str, path: str, headers: dict[str, str], body: str, status: int
) -> None:
    headers = {name: value.replace("KEY", API_KEY) for name, value in headers.items()}
    url = path.replace("KEY", API_KEY.replace(" ", "%20"))
    async with http.request(method, url, headers=headers, data=body, allow_redirects=False) as response:
        assert response.status == status


async def test_application_errors_are_answers(http: aiohttp.ClientSession) -> None:
    for path, asked, code in (
        ("publish", {"channel": "nowhere:a", "data": 1}, 102),
        ("publish", {"channel": "", "data": 1}, 107),
        ("publish", {"channel": "open:a"}, 107),
        ("presence", {"channel": "bare:a"}, 108),
        ("history", {"channel": "bare:a"}, 108),
        ("history", {"channel": "open:a", "since": {"offset": 1, "epoch": "other"}}, 112),
    ):
        async with http.post(f"/api/{path}", json=asked, headers={"X-API-Key": API_KEY}) as response:
            assert response.status == 200
            answer = await response.json()
            assert answer["error"]["code"] == code and answer["error"]["message"], (path, asked)


async def test_one_idempotency_key_publishes_once_whoever_is_asked(cluster: Cluster, fresh: Fresh) -> None:
    channel = fresh("open")
    async with RawClient(cluster[0].url) as client, Api(cluster[0].http) as one, Api(cluster[1].http) as two:
        await client.connect("ann")
        await client.subscribe(channel)
        asked = [api.say(channel, "once", idempotency_key="k") for api in (one, two) for _ in range(10)]
        places = await asyncio.gather(*asked)
        assert {(place.offset, place.epoch) for place in places} == {(1, places[0].epoch)}
        await one.say(channel, "twice", idempotency_key="another")
        await client.push("pub", channel, offset=2)
        assert [p["data"] for p in client.publications(channel)] == ["once", "twice"]


async def test_batch_answers_each_member(http: aiohttp.ClientSession, fresh: Fresh) -> None:
    channel = fresh("open")
    commands: list[dict[str, Any]] = [
        {"publish": {"channel": channel, "data": 1}},
        {"publish": {"channel": "nowhere:a", "data": 1}},
        {"presence_stats": {"channel": channel}},
    ]
    async with http.post("/api/batch", json={"commands": commands}, headers={"X-API-Key": API_KEY}) as response:
        replies = (await response.json())["replies"]
    assert replies[0]["publish"]["offset"] == 1
    assert replies[1]["error"]["code"] == 102
    assert replies[2] == {"presence_stats": {"num_clients": 0, "num_users": 0}}


async def test_what_the_cluster_knows_of_its_clients(cluster: Cluster, fresh: Fresh, api: Api) -> None:
    channel = fresh("open")
    async with RawClient(cluster[0].url) as one, RawClient(cluster[1].url) as two:
        for client, user in ((one, "kim"), (two, "lou")):
            await client.connect(user)
            await client.subscribe(channel)
        present = await api.presence(cent.PresenceRequest(channel=channel))
        assert {info.user for info in present.presence.values()} == {"kim", "lou"}
        stats = await api.presence_stats(cent.PresenceStatsRequest(channel=channel))
        assert (stats.num_clients, stats.num_users) == (2, 2)
        found = await api.channels(cent.ChannelsRequest(pattern=channel[:-2] + "*"))
        assert found.channels[channel].num_clients == 2
        nodes = (await api.info(cent.InfoRequest())).nodes
        assert {node.name for node in nodes} == {instance.name for instance in cluster.instances}
        await api.unsubscribe(cent.UnsubscribeRequest(user="kim", channel=channel))
        assert await one.push("unsubscribe", channel) == {"code": 2000, "reason": "server unsubscribe"}
        await api.disconnect(cent.DisconnectRequest(user="kim"))
        assert await one.closed() == (3503, "force disconnect")
        await two.round_trip()


async def test_history_and_its_removal(fresh: Fresh, api: Api) -> None:
    channel = fresh("open")
    last = await api.say_all(channel, *range(1, 401))
    page = await api.history(cent.HistoryRequest(channel=channel, limit=1000))
    assert [publication.data for publication in page.publications] == list(range(1, 401))
    assert (page.offset, page.epoch) == (400, last.epoch)
    await api.history_remove(cent.HistoryRemoveRequest(channel=channel))
    page = await api.history(cent.HistoryRequest(channel=channel, limit=1000))
    assert (page.publications, page.offset, page.epoch) == ([], 400, last.epoch)
