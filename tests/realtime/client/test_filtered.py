"""Subscriptions with tags filters: what they are given, live, held back, fed and recovered."""

from typing import Any

import pytest
from msgspec import structs

from flotilla.realtime.engine.local_channel import Flow
from flotilla.realtime.engine.publication import StreamPosition
from flotilla.realtime.node.node import Node
from flotilla.realtime.protocol.filters import MAX_NODES
from flotilla.realtime.protocol.replies import publication_body
from tests.realtime.client.peers import Peer, error, joined
from tests.store.redis_process import until

pytestmark = pytest.mark.asyncio

RED = {"key": "colour", "cmp": "eq", "val": "red"}
BLUE = {"key": "colour", "cmp": "eq", "val": "blue"}


async def say(node: Node, *colours: str, channel: str = "tagged:a") -> StreamPosition:
    """One publication of each colour."""
    options = node.config.namespaces[channel.partition(":")[0]]
    bodies = [publication_body(b'"%s"' % colour.encode(), None, {"colour": colour}) for colour in colours]
    return [await node.broker.publish(channel, body, options) for body in bodies][-1]


def offsets(peer: Peer, channel: str = "tagged:a") -> list[int]:
    return [publication["offset"] for publication in peer.pushes("pub", channel)]


@pytest.mark.parametrize("channel", ["tagged:a", "tagged-plain:a"])
async def test_each_gets_what_its_filter_wants(node: Node, channel: str) -> None:
    """And whoever has none gets everything."""
    red, blue, everything = [await joined(node) for _ in range(3)]
    await red.subscribe(channel, tf=RED)
    await blue.subscribe(channel, tf={"op": "or", "nodes": [BLUE]})
    await everything.subscribe(channel)
    await say(node, "red", "blue", "green", "red", channel=channel)
    await until(lambda: len(everything.data(channel)) == 4)
    assert red.data(channel) == ["red", "red"]
    assert blue.data(channel) == ["blue"]
    assert everything.data(channel) == ["red", "blue", "green", "red"]


async def test_equal_filters_share_what_is_written(node: Node) -> None:
    """They are one group, and another format or filter is another."""
    for tf in (RED, {**RED, "vals": []}, BLUE):
        await (await joined(node)).subscribe("tagged:a", tf=tf)
    sizes = sorted(len(group.sockets) for group in node.hub.channels["tagged:a"].followers.groups.values())
    assert sizes == [1, 2]


@pytest.mark.parametrize(
    ("channel", "tf"),
    [
        ("open:a", RED),
        ("tagged:a", {**RED, "cmp": "like"}),
        ("tagged:a", []),
        ("tagged:a", {"op": "or", "nodes": [RED] * MAX_NODES}),
    ],
)
async def test_what_may_not_or_cannot_be_used_is_a_bad_request(node: Node, channel: str, tf: Any) -> None:
    """The connection goes on, and says why."""
    peer = await joined(node)
    answer = await peer.ask(subscribe={"channel": channel, "tf": tf})
    assert answer == error(107)
    assert "tags filter" in answer["error"]["message"]
    await peer.subscribe("tagged:a", tf=None)


async def test_a_stranger_s_filter_is_not_read(node: Node) -> None:
    peer = await joined(node)
    assert await peer.ask(subscribe={"channel": "closed:a", "tf": {"cmp": "like"}}) == error(103)


async def test_what_is_filtered_out_is_no_gap(node: Node) -> None:
    """Neither live nor when history is compared."""
    peer = await joined(node)
    await peer.subscribe("tagged:a", tf=RED)
    await say(node, "blue", "blue", "red", "blue")
    await until(lambda: node.hub.channels["tagged:a"].position.offset == 4)
    node.hub.resync()
    await until(lambda: node.hub.channels["tagged:a"].settled)
    await say(node, "red")
    await until(lambda: offsets(peer) == [3, 5])
    assert not peer.pushes("unsubscribe", "tagged:a")


async def test_a_refill_is_filtered(node: Node) -> None:
    """What the layer lost is read from history."""
    peer = await joined(node)
    await peer.subscribe("tagged:a", tf=RED)
    position = await say(node, "blue")
    channel = node.hub.channels["tagged:a"]
    await until(lambda: channel.position.offset == 1)
    channel.position = StreamPosition(position.epoch, 0)  # as if it had not come
    await say(node, "red", "green")
    await until(lambda: channel.position.offset == 3 and channel.flow is Flow.LIVE)
    assert offsets(peer) == [2]


@pytest.mark.parametrize(
    ("colours", "since", "given", "begin"),
    [
        (["red", "blue", "red", "blue"], 0, [1, 3], 0),
        (["red", "blue", "red", "blue"], 1, [3], 2),
        (["red", "blue", "blue"], 1, [], 3),
        (["blue", "blue"], 2, [], 2),
    ],
)
async def test_a_recovery_is_filtered(node: Node, colours: list[str], since: int, given: list[int], begin: int) -> None:
    """The client's offset goes past what is not for it, where nothing else follows."""
    epoch = (await say(node, *colours)).epoch
    peer = await joined(node)
    result = await peer.subscribe("tagged:a", tf=RED, recover=True, epoch=epoch, offset=since)
    assert result["recovered"] is True
    assert [one["offset"] for one in result.get("publications", [])] == given
    assert result.get("offset", 0) == begin
    await say(node, "blue", "red")
    await until(lambda: offsets(peer) == [len(colours) + 2])


async def test_a_recovery_that_is_fed_is_filtered(node: Node) -> None:
    """Because much is unread; and what is published meanwhile is filtered too."""
    epoch = (await say(node, "blue", "red", "blue", "red")).epoch
    peer = await joined(node)
    peer.socket.waiting = 1_000_000
    result = await peer.subscribe("tagged:a", tf=RED, recover=True, epoch=epoch)
    assert result["recovered"] is True and "publications" not in result
    assert result["offset"] == 1
    await say(node, "red", "blue", "blue", "red", "blue")
    channel = node.hub.channels["tagged:a"]
    await until(lambda: channel.position.offset == 9)
    peer.socket.waiting = 0
    await until(lambda: not channel.feeds)
    assert offsets(peer) == [2, 4, 5, 8]
    await say(node, "blue", "red")
    await until(lambda: offsets(peer)[4:] == [11])


async def test_what_is_held_back_until_the_reply_is_filtered(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a client is on its way in, others go on as they are."""
    other = await joined(node)
    await other.subscribe("tagged:a", tf=BLUE)
    history = node.broker.history

    async def late(*args: Any, **keywords: Any) -> Any:
        page = await history(*args, **keywords)
        await say(node, "blue", "red", "green")
        await until(lambda: node.hub.channels["tagged:a"].position.offset == 4)
        return page

    epoch = (await say(node, "red")).epoch
    monkeypatch.setattr(node.broker, "history", late)
    peer = await joined(node)
    result = await peer.subscribe("tagged:a", tf=RED, recover=True, epoch=epoch)
    assert [one["offset"] for one in result["publications"]] == [1]
    await until(lambda: offsets(peer) == [3])
    assert offsets(other) == [2]


async def test_a_filter_goes_without_deltas(node: Node) -> None:
    """The reply says so, by not saying that there are any."""
    config = structs.replace(node.config.namespaces["tagged"], allowed_delta_types=("fossil",), delta_publish=True)
    node.config = structs.replace(node.config, namespaces={**node.config.namespaces, "tagged": config})
    peer = await joined(node)
    assert (await peer.subscribe("tagged:a", delta="fossil"))["delta"] is True
    assert "delta" not in await peer.subscribe("tagged:b", delta="fossil", tf=RED)
    await say(node, "red", "blue", "red", channel="tagged:b")
    await until(lambda: peer.data("tagged:b") == ["red", "red"])
