"""Clients that speak Protobuf beside others that speak JSON, over two instances: all of the protocol."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio

from flotilla.realtime.protocol.protobuf.wire import joined
from tests.cluster.support.api_client import Api
from tests.cluster.support.driven import PAIRS, Node
from tests.cluster.support.harness import Cluster
from tests.cluster.support.processes import eventually
from tests.cluster.support.protobuf_client import PROTOBUF, ProtobufClient
from tests.cluster.support.raw_client import RawClient, token
from tests.cluster.support.sdk import PythonClient, SdkClient
from tests.protobuf_messages import encoded

pytestmark = pytest.mark.asyncio

Fresh = Callable[[str], str]


@pytest_asyncio.fixture
async def binary(cluster: Cluster) -> AsyncIterator[ProtobufClient]:
    """A Protobuf client at the first instance."""
    async with ProtobufClient(cluster[0].url) as client:
        await client.connect("ann")
        yield client


@pytest_asyncio.fixture
async def text(cluster: Cluster) -> AsyncIterator[RawClient]:
    """A JSON client at the second instance."""
    async with RawClient(cluster[1].url) as client:
        await client.connect("ben")
        yield client


@pytest.mark.parametrize("query", ["?format=protobuf", "?cf_protocol=protobuf", "?a=b&format=protobuf", ""])
async def test_protobuf_is_spoken_to_who_asks_for_it(cluster: Cluster, query: str) -> None:
    """On every server that the platform runs under."""
    for instance in cluster.instances:
        async with ProtobufClient(instance.url + query) as client:
            assert (await client.connect("ann"))["pong"] is True
            assert client.socket.subprotocol == (None if query else PROTOBUF)
            await eventually(lambda client=client: client.pings, "a ping")  # type: ignore[misc]
            await client.round_trip()


async def test_publications_cross_from_one_encoding_to_the_other(
    binary: ProtobufClient, text: RawClient, api: Api, fresh: Fresh
) -> None:
    channel = fresh("open")
    for client in (binary, text):
        await client.subscribe(channel)
    await binary.call("publish", channel=channel, data={"from": "protobuf"})
    await text.call("publish", channel=channel, data={"from": "json"})
    await api.say(channel, {"from": "the server"})
    for client in (binary, text):
        await client.push("pub", channel, data={"from": "the server"})
        seen = client.publications(channel)
        assert [one["data"]["from"] for one in seen] == ["protobuf", "json", "the server"]
        assert [one["offset"] for one in seen] == [1, 2, 3]
        assert [one.get("info", {}).get("user") for one in seen] == ["ann", "ben", None]
    history = [(await one.call("history", channel=channel, limit=-1))["history"] for one in (binary, text)]
    assert history[0] == history[1]
    assert len(history[0]["publications"]) == 3


async def test_members_joins_and_leaves(binary: ProtobufClient, text: RawClient, fresh: Fresh) -> None:
    channel = fresh("open")
    for client in (binary, text):
        await client.subscribe(channel)
    for client in (binary, text):
        for joined_by in (binary, text):
            if client is binary or joined_by is text:  # the first was alone when it joined
                await client.wait(
                    lambda m, who=joined_by: (  # type: ignore[misc]
                        m.get("push", {}).get("join", {}).get("info", {}).get("client") == who.client
                    ),
                    "a join",
                )
        reply = await client.call("presence", channel=channel)
        found = reply["presence"]["presence"]
        assert {key: value["user"] for key, value in found.items()} == {binary.client: "ann", text.client: "ben"}
        assert (await client.call("presence_stats", channel=channel))["presence_stats"] == {
            "num_clients": 2,
            "num_users": 2,
        }
    await text.call("unsubscribe", channel=channel)
    assert (await binary.push("leave", channel))["info"]["user"] == "ben"


async def test_what_a_protobuf_client_publishes_is_kept_byte_for_byte(
    cluster: Cluster, binary: ProtobufClient, text: RawClient, fresh: Fresh
) -> None:
    """JSON clients get the same JSON on one line."""
    channel = fresh("open")
    written = [b'{"a":1}', b'{ "a" :\t1}', b' {\n  "a": [1,\r\n2]\n}\n', b'"\\ud83d\\ude00 \\n"', b"1.50", b"null"]
    async with ProtobufClient(cluster[1].url) as other:
        await other.connect("cid")
        for client in (binary, other, text):
            await client.subscribe(channel)
        for data in written:
            assert "publish" in await binary.call("publish", channel=channel, data=data)
        for client in (binary, other, text):
            await client.push("pub", channel, offset=len(written))
            assert [one["data"] for one in client.publications(channel)] == [json.loads(data) for data in written]
        assert binary.exact == other.exact == written
        for client in (other, text):
            stored = (await client.call("history", channel=channel, limit=-1))["history"]["publications"]
            assert [one["data"] for one in stored] == [json.loads(data) for data in written]
            assert all(set(one) <= {"data", "offset", "info"} for one in stored)
    async with RawClient(cluster[0].url) as late:
        await late.connect("dan")
        result = await late.subscribe(channel, recover=True, offset=0, epoch="")
        assert [one["data"] for one in result["publications"]] == [json.loads(data) for data in written]


@pytest.mark.parametrize("data", [b"{", b"\xff", b'"\xff"', b"1 2", b"'a'", b"[" * 300 + b"]" * 300, b""])
async def test_what_is_no_json_is_refused_where_json_is_published(
    binary: ProtobufClient, fresh: Fresh, data: bytes
) -> None:
    assert await binary.error("publish", channel=fresh("open"), data=data) == 107
    assert "rpc" in await binary.call("rpc", method="echo", data=1)


async def test_bytes_of_any_kind_where_the_namespace_says_so(
    cluster: Cluster, binary: ProtobufClient, api: Api, fresh: Fresh
) -> None:
    channel = fresh("raw")
    written = [bytes(range(256)), b"\n", b'{"a":1}', b"\x00" * 5000]
    async with ProtobufClient(cluster[1].url) as other:
        await other.connect("cid")
        for client in (binary, other):
            await client.subscribe(channel)
        for data in written[:-1]:
            await binary.call("publish", channel=channel, data=data)
        encoded = base64.b64encode(written[-1]).decode()
        answer = await api.post("publish", {"channel": channel, "b64data": encoded, "tags": {"a": "b"}})
        assert answer["result"]["offset"] == len(written)
        for client in (binary, other):
            pub = await client.push("pub", channel, offset=len(written))
            assert pub["tags"] == {"a": "b"}
            assert client.exact == written
        async with ProtobufClient(cluster[0].url) as late:
            await late.connect("dan")
            result = await late.subscribe(channel, recover=True, offset=0, epoch="")
            assert [one["offset"] for one in result["publications"]] == [1, 2, 3, 4]
            assert result["publications"][0]["data"] == written[0]
    found = (await api.post("history", {"channel": channel, "limit": -1}))["result"]["publications"]
    assert [base64.b64decode(one["b64data"]) for one in found] == written


async def test_a_json_client_is_kept_out_of_such_a_channel(text: RawClient, api: Api, fresh: Fresh) -> None:
    channel = fresh("raw")
    assert await text.error("subscribe", channel=channel) == 108
    assert await text.error("publish", channel=channel, data=1) == 108
    assert await text.error("history", channel=channel, limit=1) == 108
    assert await text.call("unsubscribe", channel=channel)
    answer = await api.post("subscribe", {"user": "ben", "channel": channel})
    assert "error" not in answer
    await text.round_trip()
    assert text.pushes(channel) == []


async def test_server_side_subscriptions_recover(cluster: Cluster, api: Api, fresh: Fresh) -> None:
    channel, later = fresh("open"), fresh("open")
    credentials = token("eve", subs={channel: {"info": {"role": "guest"}, "data": [1, 2]}})
    async with ProtobufClient(cluster[0].url) as client:
        sub = (await client.connect(token=credentials))["subs"][channel]
        assert sub["data"] == [1, 2]
        position = {"recover": True, "epoch": sub["epoch"], "offset": sub.get("offset", 0)}
        joined_as = (await client.push("join", channel))["info"]
        assert (joined_as["user"], joined_as["chan_info"]) == ("eve", {"role": "guest"})
        await api.post("subscribe", {"client": client.client, "user": "eve", "channel": later, "data": {"x": 1}})
        pushed = await client.push("subscribe", later)
        assert (pushed["data"], pushed["recoverable"]) == ({"x": 1}, True)
        await api.post("unsubscribe", {"user": "eve", "channel": later})
        assert (await client.push("unsubscribe", later))["code"] == 2000
    await api.say_all(channel, "one", "two")
    async with ProtobufClient(cluster[1].url) as client:
        sub = (await client.connect(token=credentials, subs={channel: position}))["subs"][channel]
        assert sub["recovered"] is True
        assert [one["data"] for one in sub["publications"]] == ["one", "two"]


async def test_calls_messages_and_errors(binary: ProtobufClient, fresh: Fresh) -> None:
    data = {"a": [1, None, "ü"]}
    assert (await binary.call("rpc", method="echo", data=data))["rpc"]["data"] == data
    reply = await binary.call("rpc", method="refuse", data={"code": 1042, "message": "no"})
    assert reply["error"] == {"code": 1042, "message": "no"}
    assert (await binary.call("rpc", method="break"))["error"]["temporary"] is True
    assert await binary.error("rpc", method="missing") == 104
    assert await binary.error("rpc", method="echo", data=b"{") == 107
    assert await binary.error("subscribe", channel="nowhere:x") == 102
    channel = fresh("open")
    await binary.subscribe(channel)
    assert await binary.error("subscribe", channel=channel) == 105
    await binary.subscribe("open:sent")
    await binary.send({"send": {"data": {"hello": 1}}})
    assert (await binary.push("pub", "open:sent", data={"from": "ann", "data": {"hello": 1}})) is not None


async def test_a_message_of_the_server(binary: ProtobufClient, api: Api, cluster: Cluster) -> None:
    await asyncio.to_thread(_send_message, cluster, binary.client)
    assert (await binary.push("message"))["data"] == {"hello": [1, 2]}


def _send_message(cluster: Cluster, client: str) -> None:
    from tests.cluster.support.harness import manage

    code = f"from flotilla import send_message; send_message(None, {{'hello': [1, 2]}}, client={client!r})"
    manage(cluster.env, "shell", "--verbosity", "0", "-c", code)


async def test_tokens_are_refreshed(cluster: Cluster, fresh: Fresh) -> None:
    channel = "$" + fresh("open")
    async with ProtobufClient(cluster[0].url) as client:
        result = await client.connect(token=token("ann", ttl=60))
        assert (result["expires"], result["ttl"] > 50) == (True, True)
        refreshed = (await client.call("refresh", token=token("ann", ttl=120)))["refresh"]
        assert refreshed["expires"] and refreshed["ttl"] > 110
        sub = await client.subscribe(channel, token=token("ann", channel=channel, ttl=60))
        assert sub["expires"] and sub["ttl"] > 50
        again = await client.call("sub_refresh", channel=channel, token=token("ann", channel=channel, ttl=120))
        assert again["sub_refresh"]["ttl"] > 110
        await client.send(client.command("refresh", token="nonsense"))
        assert (await client.closed())[0] == 3500


async def test_the_server_ends_a_connection(binary: ProtobufClient, api: Api) -> None:
    await api.post(
        "disconnect", {"user": "ann", "client": binary.client, "disconnect": {"code": 4501, "reason": "enough"}}
    )
    assert await binary.closed() == (4501, "enough")


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (b"", 3501),
        (b"\x05\x08\x01", 3501),
        (b"\xff" * 12, 3501),
        (joined([b"\x07\x01"]), 3501),
        (joined([b"\x08\xff\xff\xff\xff\xff\x01\x5a\x00"]), 3501),
        (b"\x00" * 300, 3013),
        (encoded({"id": 9, "ping": {}}), 3501),
        ("{}", 3506),
        (b"x" * 70_000, 1009),
    ],
    ids=["empty", "cut", "no-length", "wrong-type", "long-id", "many", "unframed", "text", "long"],
)
async def test_who_breaks_the_protocol_is_sent_away(binary: ProtobufClient, said: Any, code: int) -> None:
    await binary.socket.send(said)
    assert (await binary.closed())[0] == code


async def test_a_json_client_that_sends_binary_is_sent_away(text: RawClient) -> None:
    await text.socket.send(b"\x00")
    assert (await text.closed())[0] == 3506


async def test_an_unknown_field_is_no_fault(binary: ProtobufClient, fresh: Fresh) -> None:
    unknown = b"\xa2\x06\x03abc"
    await binary.send_bytes(joined([encoded(binary.command("history", channel=fresh("open"))) + unknown]))
    assert "history" in await binary.reply(2)


async def test_connect_and_subscribe_in_one_message(cluster: Cluster, fresh: Fresh) -> None:
    channel = fresh("open")
    async with ProtobufClient(cluster[0].url) as client:
        await client.send(client.command("connect", token=token("ann")), client.command("subscribe", channel=channel))
        assert (await client.reply(1))["connect"]["client"]
        assert (await client.reply(2))["subscribe"]["recoverable"] is True


async def test_a_client_that_is_silent_is_ended(cluster: Cluster) -> None:
    async with ProtobufClient(cluster[0].url, silent=True) as client:
        await client.connect("ann")
        assert (await client.closed())[0] == 3012


async def test_the_sdks_in_both_encodings_beside_each_other(
    cluster: Cluster, node: Node, api: Api, fresh: Fresh
) -> None:
    """JavaScript in either, and Python, over two instances, in one channel."""
    channel, given = fresh("open"), fresh("open")
    credentials = [token(name, subs={given: {}}) for name in ("js", "js-bytes", "py")]
    clients: list[SdkClient] = [
        node.client(cluster[0].url, lambda _: credentials[0], "js", PAIRS[0]),
        node.client(cluster[1].url, lambda _: credentials[1], "js-bytes", PAIRS[1]),
        PythonClient(cluster[0].url, lambda _: credentials[2]),
    ]
    async with AsyncExitStack() as stack:
        for client in clients:
            stack.push_async_callback(client.close)
            await client.connect()
            await client.subscribe(channel)
            await client.seen.event("subscribed", channel)
        for number, client in enumerate(clients):
            await client.publish(channel, {"from": [number, "ü", None]})
        for client in clients:
            await client.seen.event("publication", channel, nth=3)
            assert client.seen.published(channel) == [{"from": [number, "ü", None]} for number in range(3)]
            assert client.seen.offsets(channel) == [1, 2, 3]
            assert await client.presence_stats(channel) == {"num_clients": 3, "num_users": 3}
            assert [one["data"] for one in (await client.history(channel, limit=2))["publications"]] == [
                {"from": [0, "ü", None]},
                {"from": [1, "ü", None]},
            ]
            assert await client.rpc("echo", {"a": [1]}) == {"a": [1]}
        await api.say(given, "to all")
        for client in clients:
            await client.seen.event("server_publication", data="to all")
        await clients[0].unsubscribe(channel)
        for client in clients[1:]:
            await client.seen.event("leave", channel)
        await api.post("disconnect", {"user": "js-bytes", "disconnect": {"code": 4501, "reason": "enough"}})
        assert (await clients[1].seen.event("disconnected"))["code"] == 4501
