"""Everything the official HTTP API client can ask that is not a paid feature, asked of two instances in turn."""

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import cent
import pytest

from tests.cluster.support.harness import API_KEY, CONFIG, Cluster, running
from tests.cluster.support.raw_client import RawClient

pytestmark = pytest.mark.asyncio

Fresh = Callable[[str], str]
OTHER_KEY = "another key of the cluster tests"
LIMIT = {"guards": "http:/api/info", "key": "flotilla.realtime.api.keys.holder", "rate": "3/m"}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two instances with two keys, and a limit for each key."""
    config = CONFIG | {"rate_limits": {"api": LIMIT}}
    keys = f"{API_KEY},{OTHER_KEY}"
    with running(
        Cluster(tmp_path_factory.mktemp("cent"), config, "flotilla", "flotilla", REALTIME_API_KEYS=keys)
    ) as cluster:
        yield cluster


class InTurn:
    """The client, asking one instance after the other; remembers which methods it used."""

    def __init__(self, cluster: Cluster) -> None:
        self.used: set[str] = set()
        self._clients = [cent.AsyncClient(f"{cluster[i].http}/api", API_KEY) for i in (0, 1)]

    async def __call__(self, request: Any) -> Any:
        self._clients.reverse()
        self.used.add(request.__api_method__)
        return await getattr(self._clients[0], request.__api_method__)(request)

    async def close(self) -> None:
        for client in self._clients:
            await client.close()


async def test_the_whole_surface(pair: Cluster, fresh: Fresh) -> None:
    """Each method twice, so that each instance is asked each; clients are connected to both."""
    ask = InTurn(pair)
    channel, other, user = fresh("open"), fresh("quiet"), fresh("")
    async with RawClient(pair[0].url) as one, RawClient(pair[1].url) as two:
        for client in (one, two):
            await client.connect(user)
        try:
            await _publishing(ask, channel, other)
            await _connections(ask, channel, user, one, two)
            await _reading(ask, channel, {one.client, two.client})
            batch = cent.BatchRequest(
                requests=[cent.PublishRequest(channel=channel, data=1), cent.HistoryRequest(channel=channel, limit=1)],
                parallel=True,
            )
            for _ in range(2):
                published, history = (await ask(batch)).replies
                assert published.offset == history.offset
            for _ in range(2):
                await ask(cent.HistoryRemoveRequest(channel=channel))
            assert (await ask(cent.HistoryRequest(channel=channel, limit=10))).publications == []
            await _ends(ask, user, channel, one, two)
        finally:
            await ask.close()
    served = {"publish", "broadcast", "subscribe", "unsubscribe", "disconnect", "refresh", "presence", "batch"}
    assert ask.used == served | {"presence_stats", "history", "history_remove", "channels", "info"}


async def _publishing(ask: InTurn, channel: str, other: str) -> None:
    encoded = base64.b64encode(json.dumps([1]).encode()).decode()
    first = await ask(cent.PublishRequest(channel=channel, data={"n": 1}, tags={"a": "b"}, idempotency_key="once"))
    again = await ask(cent.PublishRequest(channel=channel, data={"n": 2}, idempotency_key="once"))
    assert (again.offset, again.epoch) == (first.offset, first.epoch)
    await ask(cent.PublishRequest(channel=channel, data=None, b64data=encoded, skip_history=True))
    for offset in (2, 3):
        answers = (await ask(cent.BroadcastRequest(channels=[channel, other, "nowhere:a"], data="all"))).responses
        assert answers[0].result.offset == offset
        assert answers[2].error.code == 102
    with pytest.raises(cent.CentApiResponseError) as caught:
        await ask(cent.PublishRequest(channel="nowhere:a", data=1))
    assert caught.value.code == 102


async def _connections(ask: InTurn, channel: str, user: str, one: RawClient, two: RawClient) -> None:
    top = await ask(cent.HistoryRequest(channel=channel, limit=0))
    since = cent.StreamPosition(offset=top.offset - 1, epoch=top.epoch)
    flag = cent.BoolValue(value=True)
    override = cent.ChannelOptionsOverride(presence=flag, force_positioning=flag)
    for client in (one, two):
        await ask(
            cent.SubscribeRequest(
                user=user,
                channel=channel,
                client=client.client,
                info={"role": "guest"},
                data={"welcome": True},
                recover_since=since,
                override=override,
            )
        )
        told = await client.push("subscribe", channel)
        assert (told["data"], told["offset"]) == ({"welcome": True}, top.offset - 1)
        assert (await client.push("pub", channel))["data"] == "all"
    for client in (one, two):
        await ask(cent.RefreshRequest(user=user, client=client.client, expire_at=2**33))
        await client.round_trip()


async def _reading(ask: InTurn, channel: str, clients: set[str]) -> None:
    for _ in range(2):
        presence = (await ask(cent.PresenceRequest(channel=channel))).presence
        assert presence.keys() == clients
        assert {info.chan_info["role"] for info in presence.values()} == {"guest"}
        stats = await ask(cent.PresenceStatsRequest(channel=channel))
        assert (stats.num_clients, stats.num_users) == (2, 1)
        found = await ask(cent.HistoryRequest(channel=channel, limit=2, reverse=True))
        assert [publication.data for publication in found.publications] == ["all", "all"]
        assert (await ask(cent.ChannelsRequest(pattern=channel))).channels[channel].num_clients == 2
        assert len((await ask(cent.InfoRequest())).nodes) == 2


async def _ends(ask: InTurn, user: str, channel: str, one: RawClient, two: RawClient) -> None:
    for client in (one, two):
        await ask(cent.UnsubscribeRequest(user=user, channel=channel, client=client.client))
        await client.push("unsubscribe", channel, code=2000)
    wish = cent.Disconnect(code=4500, reason="moved")
    await ask(cent.DisconnectRequest(user=user, whitelist=[two.client], disconnect=wish))
    assert await one.closed() == (4500, "moved")
    await ask(cent.DisconnectRequest(user=user, client=two.client))
    assert await two.closed() == (3503, "force disconnect")


async def test_a_limit_counts_each_key_over_all_instances(pair: Cluster) -> None:
    """However it is sent; a wrong key takes nothing from a right one."""
    headers = [{"X-API-Key": OTHER_KEY}, {"Authorization": f"apikey {OTHER_KEY}"}]

    async def ask(i: int, key: dict[str, str]) -> int:
        async with session.post(f"{pair[i].http}/api/info", json={}, headers=key) as response:
            return response.status

    async with aiohttp.ClientSession() as session:
        assert [await ask(i, {"X-API-Key": "wrong"}) for i in (0, 1)] == [401, 401]
        assert [await ask(i % 2, headers[i // 2]) for i in range(4)] == [200, 200, 200, 429]


async def test_errors_told_by_the_status(pair: Cluster) -> None:
    """Where the caller asks for it; in the body as ever."""
    mode = {"X-API-Key": API_KEY, "X-Centrifugo-Error-Mode": "transport"}
    async with aiohttp.ClientSession(pair[0].http) as session:
        for path, asked, status, code in (
            ("publish", {"channel": "nowhere:a", "data": 1}, 404, 102),
            ("publish", {"channel": ""}, 400, 107),
            ("presence", {"channel": "bare:a"}, 400, 108),
            ("history", {"channel": "open:a", "since": {"offset": 1, "epoch": "other"}}, 416, 112),
            ("rpc", {"method": "nothing"}, 404, 104),
            ("rpc", {"method": "refuse", "params": {"code": 1042, "message": "no"}}, 400, 1042),
            ("rpc", {"method": "break"}, 500, 100),
        ):
            async with session.post(f"/api/{path}", json=asked, headers=mode) as response:
                assert response.status == status
                assert (await response.json())["error"]["code"] == code
        async with session.post("/api/broadcast", json={"channels": ["nowhere:a"], "data": 1}, headers=mode) as answer:
            assert answer.status == 200


async def test_a_project_s_own_methods(pair: Cluster) -> None:
    """As nobody; in a batch as well."""
    key = {"X-API-Key": API_KEY}
    async with aiohttp.ClientSession(pair[0].http) as session:
        async with session.post("/api/rpc", json={"method": "echo", "params": {"a": 1}}, headers=key) as response:
            assert await response.json() == {"result": {"data": {"a": 1}}}
        commands = [{"rpc": {"method": "count_users", "params": {"prefix": "nobody"}}}, {"rpc": {"method": "sing"}}]
        async with session.post("/api/batch", json={"commands": commands}, headers=key) as response:
            found, missing = (await response.json())["replies"]
        assert found == {"rpc": {"data": {"count": 0, "asked_by": "None"}}}
        assert missing["error"]["code"] == 104
