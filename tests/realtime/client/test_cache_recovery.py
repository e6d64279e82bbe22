"""Recovery from the cache: the newest publication at once."""

from typing import Any

import pytest

from flotilla.realtime.access.identity import Identity, ServerSub
from flotilla.realtime.engine.local_channel import Flow
from flotilla.realtime.engine.publication import StreamPosition
from flotilla.realtime.node.node import Node
from tests.realtime.client.peers import Peer, error, fill, joined
from tests.realtime.client.test_filtered import RED, say
from tests.store.redis_process import until

pytestmark = pytest.mark.asyncio


def given(result: dict[str, Any]) -> tuple[Any, ...]:
    found = [one["offset"] for one in result.get("publications", [])]
    return result.get("was_recovering", False), result.get("recovered", False), result.get("offset", 0), found


async def test_whoever_comes_back_gets_the_newest_alone(node: Node) -> None:
    """However much was missed, and by whatever position; then what is published follows."""
    epoch = (await fill(node, 14, "price:a")).epoch
    for wish in (
        {"epoch": epoch, "offset": 12},
        {"epoch": epoch, "offset": 1},
        {"epoch": "other", "offset": 14},
        {"epoch": epoch, "offset": 99},
        {"epoch": "", "offset": 0},
    ):
        peer = await joined(node)
        assert given(await peer.subscribe("price:a", recover=True, flag=2, **wish)) == (True, True, 13, [14])
    await fill(node, 1, "price:a")
    await until(lambda: [one["offset"] for one in peer.pushes("pub", "price:a")] == [15])


async def test_whoever_has_it_gets_nothing(node: Node) -> None:
    epoch = (await fill(node, 3, "price:a")).epoch
    peer = await joined(node)
    assert given(await peer.subscribe("price:a", recover=True, epoch=epoch, offset=3)) == (True, True, 3, [])


async def test_an_empty_cache_is_not_recovered(node: Node) -> None:
    """So the page fetches what there is by itself; what has expired is as good as nothing."""
    peer = await joined(node)
    assert given(await peer.subscribe("price:a", recover=True)) == (True, False, 0, [])
    epoch = (await fill(node, 3, "price:b")).epoch
    await node.broker.forget("price:b")
    assert given(await peer.subscribe("price:b", recover=True)) == (True, False, 3, [])
    assert await peer.ask(subscribe={"channel": "price:c", "recover": True, "flag": 2}) == error(112)
    again = await joined(node)
    assert given(await again.subscribe("price:b", recover=True, epoch=epoch, offset=3)) == (True, True, 3, [])


async def test_whoever_does_not_ask_gets_nothing(node: Node) -> None:
    await fill(node, 3, "price:a")
    assert given(await (await joined(node)).subscribe("price:a")) == (False, False, 3, [])


async def test_with_auto_cache_recover_everybody_gets_it(node: Node) -> None:
    """The first time as well; an empty cache is told, and is no error even to who wants one for a lost position."""
    peer = await joined(node)
    assert given(await peer.subscribe("ticker:empty", flag=2)) == (True, False, 0, [])
    await fill(node, 3, "ticker:a")
    assert given(await peer.subscribe("ticker:a")) == (True, True, 2, [3])


async def test_server_side_subscriptions_too(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    async def known(*_: Any, **__: Any) -> Identity:
        return Identity("ann", channels=(ServerSub("ticker:a"),))

    monkeypatch.setattr("flotilla.realtime.client.commands.connect.authenticate", known)
    await fill(node, 3, "ticker:a")
    result = await Peer(node).connect()
    assert given(result["subs"]["ticker:a"]) == (True, True, 2, [3])


async def test_the_newest_that_the_filter_wants(node: Node) -> None:
    """As far back as a recovery goes: 5 publications here. Who has it already is not given it again."""
    epoch = (await say(node, "red", "red", "blue", "blue", channel="price:a")).epoch
    peers = [await joined(node) for _ in range(4)]
    assert given(await peers[0].subscribe("price:a", tf=RED, recover=True)) == (True, True, 1, [2])
    assert given(await peers[1].subscribe("price:a", tf=RED, recover=True, epoch=epoch, offset=1))[3] == [2]
    assert given(await peers[2].subscribe("price:a", tf=RED, recover=True, epoch=epoch, offset=2)) == (
        True,
        True,
        4,
        [],
    )
    await say(node, "blue", "blue", "blue", channel="price:a")
    assert given(await peers[3].subscribe("price:a", tf=RED, recover=True)) == (True, False, 7, [])


async def test_a_large_one_follows_the_reply(node: Node) -> None:
    """Where much is unread, at the client's pace."""
    await fill(node, 3, "price:a")
    peer = await joined(node)
    peer.socket.waiting = 1_000_000
    assert given(await peer.subscribe("price:a", recover=True)) == (True, True, 2, [])
    await fill(node, 2, "price:a")
    peer.socket.waiting = 0
    await until(lambda: [one["offset"] for one in peer.pushes("pub", "price:a")] == [3, 4, 5])


async def test_what_the_layer_lost_for_good_is_no_gap(node: Node) -> None:
    """Of all that did not come history has the newest, which is all that subscribers need."""
    peer = await joined(node)
    await peer.subscribe("ticker:a")
    epoch = (await fill(node, 1, "ticker:a")).epoch
    channel = node.hub.channels["ticker:a"]
    await until(lambda: channel.position.offset == 1)
    for top, kept in ((4, True), (8, False)):
        channel.flow = Flow.CONFIRMING  # nothing is delivered
        await fill(node, top - channel.position.offset, "ticker:a")
        await until(lambda top=top: channel.newest.offset == top)
        if not kept:
            await node.broker.forget("ticker:a")
        channel.flow = Flow.LIVE
        node.hub._synchronizer.refill(channel, channel.newest)
        await until(lambda: channel.flow is Flow.LIVE)
    assert [one["offset"] for one in peer.pushes("pub", "ticker:a")] == [1, 4]
    assert channel.position == StreamPosition(epoch, 8)
    await fill(node, 1, "ticker:a")
    await until(lambda: [one["offset"] for one in peer.pushes("pub", "ticker:a")] == [1, 4, 9])
    assert not peer.pushes("unsubscribe", "ticker:a")
