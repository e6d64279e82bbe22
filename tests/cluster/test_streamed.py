"""Clients without WebSockets, raw: HTTP streaming, server-sent events, and what they say through any instance, under
every server.
"""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cent
import pytest
from msgspec import Raw

from flotilla.realtime.node.sessions import proof_of
from flotilla.realtime.protocol.protobuf.messages import message
from flotilla.realtime.protocol.protobuf.schema import CLASSES
from flotilla.realtime.protocol.protobuf.wire import joined
from tests.cluster.support.api_client import Api
from tests.cluster.support.balancer import any_certificate
from tests.cluster.support.generic_server import Server
from tests.cluster.support.harness import CONFIG, SECRET, Cluster, running
from tests.cluster.support.processes import eventually
from tests.cluster.support.raw_client import token
from tests.cluster.support.streamed import (
    Streamed,
    asked,
    emulate,
    http_stream,
    lines_of,
    protobuf_field,
    request,
    sse,
)

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(120)]

Fresh = Callable[[str], str]
STREAMS = {"http_stream": http_stream, "sse": sse}
EVERY_SERVER = range(5)
Reply: Any = CLASSES["Reply"]


def connect(user: str = "5", **more: Any) -> dict[str, Any]:
    return {"id": 1, "connect": {"token": token(user), **more}}


def subscribe(channel: str, id: int = 2, **more: Any) -> dict[str, Any]:
    return {"id": id, "subscribe": {"channel": channel, **more}}


async def present(api: Api, channel: str) -> int:
    """How many connections are in a channel."""
    stats = await api.presence_stats(cent.PresenceStatsRequest(channel=channel))
    return int(stats.num_clients)


async def nobody(api: Api, channel: str) -> bool:
    return await present(api, channel) == 0


@pytest.mark.parametrize("transport", STREAMS)
@pytest.mark.parametrize("at", EVERY_SERVER)
async def test_commands_go_through_another_instance(cluster: Cluster, fresh: Fresh, at: int, transport: str) -> None:
    """Each server holds a response, and another instance takes what the client says."""
    channel = fresh("open")
    here, there = cluster[at].port, cluster[(at + 1) % 5].port
    async with STREAMS[transport](here, connect(), subscribe(channel)) as stream:
        assert stream.status == 200
        connected = await stream.find("connect")
        await stream.find("subscribe")
        assert await emulate(there, connected, {"id": 3, "publish": {"channel": channel, "data": {"a": "ä\n"}}}) == 204
        assert (await stream.find("pub"))["data"] == {"a": "ä\n"}
        assert await emulate(here, connected, {"id": 4, "presence_stats": {"channel": channel}}) == 204
        assert (await stream.find("presence_stats")) == {"num_clients": 1, "num_users": 1}


@pytest.mark.parametrize("at", EVERY_SERVER)
async def test_a_client_that_is_gone_leaves_its_channels(cluster: Cluster, api: Api, fresh: Fresh, at: int) -> None:
    channel = fresh("open")
    async with http_stream(cluster[at].port, connect(), subscribe(channel)) as stream:
        connected = await stream.find("connect")
        await stream.find("subscribe")

    await eventually(lambda: nobody(api, channel), "nobody is there")
    # lately ended: not a stranger's, and not an error
    assert await emulate(cluster[at].port, connected, {"id": 9, "presence": {"channel": channel}}) == 204


async def test_headers_keep_proxies_from_buffering(cluster: Cluster) -> None:
    async with sse(cluster[0].port, connect()) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["x-accel-buffering"] == "no"
        assert "no-transform" in stream.headers["cache-control"]
    async with http_stream(cluster[0].port, connect()) as stream:
        assert stream.headers["content-type"] == "application/x-ndjson"
        assert stream.headers["transfer-encoding"] == "chunked"


async def test_http_10_has_no_chunks(cluster: Cluster) -> None:
    body = lines_of(connect()).encode()
    async with asked(cluster[0].port, request("POST", "/connection/http_stream", body, "1.0")) as stream:
        assert "transfer-encoding" not in stream.headers
        assert (await stream.find("connect"))["session"]


@pytest.mark.parametrize("at", EVERY_SERVER)
async def test_pings_are_answered_by_requests(cluster: Cluster, at: int) -> None:
    """Who answers stays; who does not is told 3012, and its response ends in order."""
    async with sse(cluster[at].port, connect()) as quiet, sse(cluster[at].port, connect()) as stream:
        connected = await stream.find("connect")

        async def answer() -> None:
            while True:
                await asyncio.sleep(1)
                await emulate(cluster[at].port, connected, {})

        answering = asyncio.create_task(answer())
        assert (await quiet.find("disconnect"))["code"] == 3012
        await quiet.rest()
        assert quiet.ended
        assert await emulate(cluster[at].port, connected, {"id": 7, "presence": {"channel": "open:a"}}) == 204
        assert await stream.find("presence") is not None
        answering.cancel()


async def test_strangers_sessions_are_refused(cluster: Cluster) -> None:
    port = cluster[0].port
    async with sse(port, connect()) as stream:
        connected = await stream.find("connect")
        session, node = connected["session"], connected["node"]
        swapped = session[:5] + ("a" if session[5] != "a" else "b") + session[6:]
        for other in ({"session": swapped, "node": node}, {"session": session, "node": node[::-1]},
                      {"session": session, "node": "x"}):  # fmt: skip
            assert await emulate(port, other, {}) == 404
            assert await emulate(cluster[1].port, other, {}) == 404


async def test_the_session_of_an_instance_that_is_gone_is_not_found(cluster: Cluster) -> None:
    """The proof says that the cluster has made it, and nobody hears."""
    node, random = "0" * 32, "A" * 22
    session = f"{random}.{proof_of(random, node, SECRET)}"
    assert await emulate(cluster[0].port, {"session": session, "node": node}, {}) == 404


@pytest.mark.parametrize("at", EVERY_SERVER)
async def test_what_is_no_proper_request_is_answered(cluster: Cluster, at: int) -> None:
    port, most = cluster[at].port, CONFIG["max_message_bytes"]
    cases = [
        (405, request("GET", "/emulation")),
        (405, request("PUT", "/connection/sse")),
        (405, request("GET", "/connection/http_stream")),
        (400, request("POST", "/connection/http_stream")),
        (400, request("POST", "/connection/http_stream", b"\xff")),
        (413, request("POST", "/connection/http_stream", b"{" * (most + 1))),
        (413, request("POST", "/emulation", b"x" * (2 * most + 2000))),
        (400, request("POST", "/emulation", b"{}")),
        (400, request("POST", "/emulation", b"[1")),
        (400, request("POST", "/emulation", b"\x0a\xff", Content_Type="application/octet-stream")),
        (400, request("GET", "/connection/sse")),
        (400, request("GET", "/connection/sse?cf_connect=")),
        (403, request("GET", "/connection/sse?cf_connect=%7B%7D", Origin="https://evil.example")),
        (403, request("GET", "/connection/sse?cf_connect=%7B%7D", Sec_Fetch_Site="cross-site")),
        (403, request("POST", "/emulation", b"{}", Origin="https://evil.example")),
    ]
    for status, data in cases:
        async with asked(port, data) as answer:
            assert answer.status == status, data[:80]
            assert "allow" in answer.headers or status != 405


async def test_a_message_that_is_none_ends_the_response(cluster: Cluster) -> None:
    async with sse(cluster[0].port, {"nonsense": 1}) as stream:
        assert (await stream.find("disconnect"))["code"] == 3501
        await stream.rest()
        assert stream.ended


@pytest.mark.parametrize("at", [0, 3])
async def test_a_slow_reader_is_sent_away(cluster: Cluster, api: Api, fresh: Fresh, at: int) -> None:
    """And nobody else waits for it."""
    channel = fresh("quiet")
    async with http_stream(cluster[at].port, connect(), subscribe(channel)) as stream:
        await stream.find("subscribe")
        stream.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(300):
            await api.say(channel, "x" * 60_000)
            if not await present(api, channel):
                return
    raise AssertionError("it is still there")


async def test_a_flood_of_requests_is_too_much(cluster: Cluster) -> None:
    port = cluster[0].port
    async with sse(port, connect()) as stream:
        connected = await stream.find("connect")
        many = [{}] * 250
        for _ in range(40):
            if await emulate(port, connected, *many) != 204:
                break
        assert (await stream.find("disconnect"))["code"] == 3013


async def test_a_page_of_another_origin_asks_first(cluster: Cluster) -> None:
    """One of the same host may: its scheme does not count."""
    own, port = f"https://127.0.0.1:{cluster[0].port}", cluster[0].port
    for path, method in (("/emulation", "POST"), ("/connection/sse", "GET"), ("/connection/http_stream", "POST")):
        ask = request("OPTIONS", path, Origin="https://evil.example", Access_Control_Request_Method=method)
        async with asked(port, ask) as answer:
            assert answer.status == 204
            assert "access-control-allow-origin" not in answer.headers
        ask = request("OPTIONS", path, Origin=own.replace("127.0.0.1", "127.0.0.1"))
        async with asked(port, ask) as answer:
            assert method in answer.headers["allow"]


@pytest.mark.parametrize("name", ["flotilla", "daphne", "uvicorn"])
async def test_an_instance_that_ends_sends_everybody_away(tmp_path: Path, name: str) -> None:
    """3001, the end of the response, and the process does not wait for those that never end. (Hypercorn tells its
    workers of the end by no signal.)"""
    with running(Cluster(tmp_path, CONFIG, name)) as cluster:
        port = cluster[0].port
        async with http_stream(port, connect()) as one, sse(port, connect()) as other:
            for stream in (one, other):
                await stream.find("connect")
            cluster[0].send(signal.SIGTERM)
            for stream in (one, other):
                assert (await stream.find("disconnect"))["code"] == 3001
                await stream.rest()
                assert stream.ended
        assert await asyncio.to_thread(cluster[0].wait) in (0, -15)


async def test_over_tls_of_our_own(server: Server, fresh: Fresh) -> None:
    channel, body = fresh("open"), lines_of(connect())
    async with asked(
        server.tls_port, request("POST", "/connection/http_stream", body.encode()), any_certificate()
    ) as it:
        connected = await it.find("connect")
        say = (
            {"id": 3, "subscribe": {"channel": channel}},
            {"id": 4, "publish": {"channel": channel, "data": "x" * 60_000}},
        )
        assert await emulate(server.port, connected, *say) == 204
        assert (await it.find("pub"))["data"] == "x" * 60_000


async def reply(stream: Streamed, kind: str) -> Any:
    """The next of a kind, as a message of Protobuf."""
    while not (found := Reply.FromString(await stream.sized())).HasField(kind):
        pass
    return found


async def test_protobuf(cluster: Cluster, fresh: Fresh) -> None:
    """Commands, replies and what is said through another instance, each behind its length."""
    channel, octets = fresh("open"), "application/octet-stream"
    first = joined(
        [
            message("Command", {"id": 1, "connect": {"token": token("5")}}),
            message("Command", {"id": 2, "subscribe": {"channel": channel}}),
        ]
    )
    data = request("POST", "/connection/http_stream", first, Content_Type=octets)
    async with asked(cluster[0].port, data) as stream:
        assert stream.headers["content-type"] == octets
        connected = (await reply(stream, "connect")).connect
        assert (await reply(stream, "subscribe")).subscribe.recoverable
        command = message("Command", {"id": 3, "publish": {"channel": channel, "data": Raw(b'{"a": 1}')}})
        said = {"node": connected.node, "session": connected.session}
        body = b"".join(protobuf_field(number, value.encode()) for number, value in enumerate(said.values(), 1))
        say = request("POST", "/emulation", body + protobuf_field(3, joined([command])), Content_Type=octets)
        async with asked(cluster[1].port, say) as answer:
            assert answer.status == 204
        while not (push := (await reply(stream, "push")).push).HasField("pub"):
            pass
        assert push.pub.data == b'{"a": 1}'
