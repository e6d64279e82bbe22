"""Commands and replies as the protocol has them, seen by a raw client."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster.support.api_client import Api
from tests.cluster.support.harness import Cluster
from tests.cluster.support.raw_client import RawClient, token

pytestmark = pytest.mark.asyncio

Fresh = Callable[[str], str]


async def test_connect_and_subscribe_in_one_message(cluster: Cluster, fresh: Fresh) -> None:
    channel = fresh("open")
    async with RawClient(cluster[0].url) as client:
        connect = client.command("connect", token=token("ann"))
        subscribe = client.command("subscribe", channel=channel)
        await client.send(connect, subscribe)
        result = (await client.reply(1))["connect"]
        assert result["client"] and result["version"]
        assert (result["ping"], result["pong"]) == (3, True)
        assert (await client.reply(2))["subscribe"]["recoverable"] is True
        assert [message["id"] for message in client.received if "id" in message] == [1, 2]


async def test_expired_token_with_a_pipelined_subscribe_gets_one_error_and_nothing_else(
    cluster: Cluster, fresh: Fresh
) -> None:
    async with RawClient(cluster[0].url) as client:
        expired = client.command("connect", token=token("ann", ttl=-10))
        await client.send(expired, client.command("subscribe", channel=fresh("open")))
        assert (await client.reply(1))["error"]["code"] == 109
        await client.send(client.command("presence", channel=fresh("open")))
        await client.closed()
        assert [message.get("id") for message in client.received if "id" in message] == [1]


async def test_every_command_gets_exactly_one_reply_with_its_key(cluster: Cluster, fresh: Fresh) -> None:
    channel = fresh("open")
    async with RawClient(cluster[0].url) as client:
        wanted = [
            ("connect", {"token": token("ann")}),
            ("subscribe", {"channel": channel}),
            ("publish", {"channel": channel, "data": {"n": 1}}),
            ("presence", {"channel": channel}),
            ("presence_stats", {"channel": channel}),
            ("history", {"channel": channel}),
            ("rpc", {"method": "echo", "data": 1}),
            ("unsubscribe", {"channel": channel}),
            ("unsubscribe", {"channel": channel}),
        ]
        commands = [client.command(method, **params) for method, params in wanted]
        await client.send(*commands)
        for command in commands:
            await client.reply(command["id"])
        replies = {message["id"]: message for message in client.received if "id" in message}
        assert len(replies) == len([m for m in client.received if "id" in m]) == len(wanted)
        for (method, _), command in zip(wanted, commands, strict=True):
            assert set(replies[command["id"]]) == {"id", method}
        assert replies[3]["publish"] == replies[8]["unsubscribe"] == replies[9]["unsubscribe"] == {}
        assert replies[5]["presence_stats"] == {"num_clients": 1, "num_users": 1}
        assert set(replies[6]["history"]) == {"publications", "epoch", "offset"}


async def test_a_message_without_answer_reaches_the_project(cluster: Cluster) -> None:
    async with RawClient(cluster[0].url) as client:
        await client.connect("no-such-user")
        await client.subscribe("open:sent")
        for data in ("break", "refuse", {"hello": 1}):  # what fails in a handler has no answer and ends nothing
            await client.send({"send": {"data": data}})
        assert (await client.push("pub", "open:sent"))["data"] == {"from": "no-such-user", "data": {"hello": 1}}
        assert [m for m in client.received if "error" in m] == []


@pytest.mark.parametrize(
    "message",
    [
        "{",
        "",
        "[]",
        "null",
        '{"id":50}',
        '{"id":50,"sing":{}}',
        '{"id":50,"ping":{}}',
        '{"id":-1,"presence":{"channel":"open:a"}}',
        '{"id":50,"subscribe":{}}',
        '{"id":50,"publish":{"data":1}}',
        '{"id":50,"unsubscribe":{}}',
        '{"id":50,"connect":{}}',
        '{"id":50,"refresh":{}}',
        '{"id":50,"presence":{"channel":"open:a"}}\n\n{"id":51,"presence":{"channel":"open:a"}}',
    ],
)
async def test_a_malformed_message_ends_the_connection_with_3501(cluster: Cluster, message: str) -> None:
    async with RawClient(cluster[0].url) as client:
        await client.connect("ann")
        await client.send_text(message)
        assert await client.closed() == (3501, "bad request")


@pytest.mark.parametrize("first", ['{"id":1,"subscribe":{"channel":"open:a"}}', "{}", "no json"])
async def test_anything_before_connect_ends_the_connection_with_3501(cluster: Cluster, first: str) -> None:
    async with RawClient(cluster[0].url) as client:
        await client.send_text(first)
        assert (await client.closed())[0] == 3501


async def test_unknown_keys_and_a_trailing_newline_are_ignored(cluster: Cluster, fresh: Fresh) -> None:
    async with RawClient(cluster[0].url) as client:
        connect = {"token": token("a"), "flag": 3, "color": "red", "subs": {"x:y": {"new": 1}}}
        await client.send_text(json.dumps({"id": 99, "connect": connect, "later": []}) + "\n")
        assert "connect" in await client.reply(99)
        await client.subscribe(fresh("open"), flag=1, delta="fossil", later={})


@pytest.mark.parametrize("method", ["subscribe", "publish", "presence", "presence_stats", "history"])
@pytest.mark.parametrize(
    ("channel", "code"),
    [("nowhere:room", 102), ("open:" + "x" * 251, 107), ("open:grün", 107), ("closed:room", 103)],
)
async def test_refused_channels(cluster: Cluster, method: str, channel: str, code: int) -> None:
    async with RawClient(cluster[0].url) as client:
        await client.connect("ann")
        more: dict[str, Any] = {"data": 1} if method == "publish" else {}
        assert await client.error(method, channel=channel, **more) == code


async def test_what_a_channel_does_not_have_is_not_available(cluster: Cluster, fresh: Fresh) -> None:
    channel = fresh("bare")
    async with RawClient(cluster[0].url) as client:
        await client.connect("ann")
        result = await client.subscribe(channel, recoverable=True, positioned=True, join_leave=True)
        assert result == {}
        for method in ("presence", "presence_stats", "history"):
            assert await client.error(method, channel=channel) == 108
        assert await client.error("subscribe", channel="$" + fresh("bare")) == 103  # private: only with a token
        assert await client.error("subscribe", channel=fresh("bare"), type=1) == 108
        assert await client.error("subscribe", channel=fresh("bare"), tf={"key": "a"}) == 107
        assert await client.error("publish", channel=channel) == 107


async def test_double_subscribe_is_105_and_too_many_channels_106(cluster: Cluster, fresh: Fresh) -> None:
    async with RawClient(cluster[0].url) as client:
        await client.connect("ann")  # one channel already: the personal one
        channels = [fresh("bare") for _ in range(11)]
        for channel in channels:
            await client.subscribe(channel)
        assert await client.error("subscribe", channel=channels[0]) == 105
        assert await client.error("subscribe", channel="#ann") == 105
        assert await client.error("subscribe", channel=fresh("bare")) == 106
        await client.call("unsubscribe", channel=channels[0])
        await client.subscribe(fresh("bare"))


async def test_unsubscribe_during_a_subscribe_in_flight_ends_unsubscribed(
    cluster: Cluster, fresh: Fresh, api: Api
) -> None:
    channel = fresh("open")
    async with RawClient(cluster[0].url) as client:
        await client.connect("ann")
        commands = [
            client.command(m, channel=channel) for m in ("subscribe", "unsubscribe", "subscribe", "unsubscribe")
        ]
        await client.send(*commands)
        replies = [await client.reply(command["id"]) for command in commands]
        assert ["subscribe" in reply or "unsubscribe" in reply for reply in replies] == [True] * 4
        assert (await client.call("presence", channel=channel))["presence"] == {"presence": {}}
        await api.say(channel, {"after": True})
        await client.round_trip()
        assert client.publications(channel) == []


async def test_no_push_follows_the_unsubscribe_reply(cluster: Cluster, fresh: Fresh) -> None:
    channel = fresh("open")
    async with RawClient(cluster[0].url) as client, RawClient(cluster[1].url) as publisher:
        await client.connect("ann")
        await publisher.connect("bob")
        await client.subscribe(channel)
        flood = [publisher.command("publish", channel=channel, data=n) for n in range(100)]
        for part in range(0, 100, 10):
            await publisher.send(*flood[part : part + 10])
        await client.push("pub", channel)
        reply = await client.call("unsubscribe", channel=channel)
        await publisher.reply(flood[-1]["id"])
        await client.round_trip()
        after = client.received[client.received.index(reply) + 1 :]
        assert [message for message in after if "push" in message] == []


@pytest.mark.parametrize(
    "data",
    [
        None,
        True,
        0,
        -1.5,
        12345678901234567890,
        "",
        "grüße 🚀 \u2028 \n \\",
        [],
        {},
        [1, [2, {"a": None}]],
        {"": {"ü": "\0"}},
    ],
    ids=repr,
)
async def test_data_of_any_kind_comes_through_unchanged(cluster: Cluster, fresh: Fresh, api: Api, data: Any) -> None:
    channel = fresh("open")
    async with RawClient(cluster[0].url) as client, RawClient(cluster[1].url) as other:
        await client.connect("ann")
        await other.connect("bob")
        await other.subscribe(channel)
        await client.call("publish", channel=channel, data=data)
        if data is not None:  # cent leaves null out
            await api.say(channel, data)
        assert (await other.push("pub", channel, offset=1))["data"] == data
        page = (await client.call("history", channel=channel, limit=10))["history"]
        assert [publication["data"] for publication in page["publications"]] == [data] * (1 if data is None else 2)


async def test_own_publication_and_own_join_arrive_with_info(cluster: Cluster, fresh: Fresh, api: Api) -> None:
    channel = fresh("open")
    async with RawClient(cluster[0].url) as client:
        await client.connect(token=token("ann", info={"name": "Ann"}))
        chan_info = token("ann", channel=channel, info={"role": "host"})
        await client.subscribe(channel, token=chan_info)
        about = {"user": "ann", "client": client.client, "conn_info": {"name": "Ann"}, "chan_info": {"role": "host"}}
        assert await client.push("join", channel) == {"info": about}
        await client.call("publish", channel=channel, data=1)
        assert await client.push("pub", channel) == {"data": 1, "info": about, "offset": 1}
        await api.say(channel, 2, tags={"kind": "news"})
        assert await client.push("pub", channel, offset=2) == {"data": 2, "tags": {"kind": "news"}, "offset": 2}
        members = (await client.call("presence", channel=channel))["presence"]["presence"]
        assert members == {client.client: about}


async def test_presence_counts_users_once(cluster: Cluster, fresh: Fresh) -> None:
    channel = fresh("quiet")
    async with RawClient(cluster[0].url) as one, RawClient(cluster[1].url) as two, RawClient(cluster[1].url) as three:
        for client, user in ((one, "ann"), (two, "ann"), (three, "bob")):
            await client.connect(user)
            await client.subscribe(channel)
        stats = (await one.call("presence_stats", channel=channel))["presence_stats"]
        assert stats == {"num_clients": 3, "num_users": 2}
        members = (await one.call("presence", channel=channel))["presence"]["presence"]
        assert set(members) == {one.client, two.client, three.client}


async def test_history_pages(cluster: Cluster, fresh: Fresh, api: Api) -> None:
    channel = fresh("open")
    async with RawClient(cluster[0].url) as client:
        await client.connect("ann")

        async def page(**params: Any) -> list[int]:
            found = (await client.call("history", channel=channel, **params))["history"]
            assert (found["offset"], found["epoch"]) == (top.offset, top.epoch)
            return [publication["offset"] for publication in found["publications"]]

        top = await api.say_all(channel, *range(1, 7))
        assert await page() == []
        assert await page(limit=2) == [1, 2]
        assert await page(limit=-1) == [1, 2, 3, 4, 5, 6]
        assert await page(limit=2, since={"offset": 3, "epoch": top.epoch}) == [4, 5]
        assert await page(limit=2, since={"offset": 3}) == [4, 5]
        assert await page(limit=-1, since={"offset": 6}) == []
        assert await page(limit=2, reverse=True) == [6, 5]
        assert await page(limit=2, reverse=True, since={"offset": 4}) == [3, 2]
        assert await client.error("history", channel=channel, limit=1, since={"offset": 1, "epoch": "other"}) == 112
        assert await client.error("history", channel=channel, limit=1, reverse=True, since={"offset": 0}) == 107
        top = await api.say_all(channel, *range(7, 311))
        assert await page(limit=-1) == list(range(1, 301))
        assert await page(limit=1000) == list(range(1, 301))


async def test_subscribe_reply_comes_before_pushes_and_leaves_no_gap_under_load(cluster: Cluster, fresh: Fresh) -> None:
    """Subscribers come and go while another instance publishes as fast as it can, until each has seen enough."""
    channel, visits = fresh("open"), 8
    async with RawClient(cluster[1].url) as publisher, RawClient(cluster[0].url) as stays:
        await publisher.connect("bob")
        await stays.connect("eve")
        await stays.subscribe(channel)
        published = 0

        async def publish_while(visitors: "asyncio.Future[Any]") -> None:
            nonlocal published
            while not visitors.done():
                batch = [publisher.command("publish", channel=channel, data=published + n) for n in range(30)]
                await publisher.send(*batch)
                await publisher.reply(batch[-1]["id"])
                published += len(batch)

        async def come_and_go(user: str) -> int:
            """Returns how many publications it saw."""
            async with RawClient(cluster[0].url) as client:
                await client.connect(user)
                position: dict[str, Any] = {}
                seen = 0
                for _ in range(visits):
                    before = len(client.received)
                    result = await client.subscribe(channel, **position)
                    reply_at = next(i for i, m in enumerate(client.received) if i >= before and "subscribe" in m)
                    early = [m for m in client.received[before:reply_at] if "pub" in m.get("push", {})]
                    assert not early, "a publication came before the reply"
                    if position:
                        assert result["recovered"] and result.get("offset", 0) == position["offset"]
                    offsets = [p["offset"] for p in result.get("publications", [])]
                    await client.round_trip()
                    await client.call("unsubscribe", channel=channel)
                    pushes = [m["push"]["pub"] for m in client.received[reply_at:] if "pub" in m.get("push", {})]
                    offsets += [push["offset"] for push in pushes]
                    first = result.get("offset", 0) + 1
                    assert offsets == list(range(first, first + len(offsets))), "a gap, a duplicate or a reorder"
                    seen += len(offsets)
                    position = {"recover": True, "offset": first + len(offsets) - 1, "epoch": result["epoch"]}
                return seen

        visitors = asyncio.gather(*(come_and_go(f"user-{n}") for n in range(5)))
        await asyncio.gather(visitors, publish_while(visitors))
        assert all(visitors.result()), "one never saw anything"
        await stays.push("pub", channel, offset=published)
        assert [p["offset"] for p in stays.publications(channel)] == list(range(1, published + 1))
