"""Recovery in a channel that conflates: the newest of each key since the client's offset."""

import pytest

from flotilla.realtime.client import recovery
from flotilla.realtime.node.node import Node
from flotilla.realtime.protocol.replies import publication_body
from tests.realtime.client.peers import error, joined
from tests.store.redis_process import until

pytestmark = pytest.mark.asyncio


async def say(node: Node, keys: str, times: int = 1) -> str:
    """One publication of each key, `-` for none; gives the epoch."""
    options = node.config.namespaces["wall"]
    bodies = [
        publication_body(b'"%s"' % key.encode(), None, {"of": key}, "" if key == "-" else key) for key in keys * times
    ]
    return [await node.broker.publish("wall:a", body, options) for body in bodies][-1].epoch


async def test_the_newest_of_each_key_is_recovered(node: Node) -> None:
    """The result's offset is that before the first of them, and each moves the client on."""
    epoch = await say(node, "abab-cab-c")
    peer = await joined(node)
    result = await peer.subscribe("wall:a", recover=True, epoch=epoch, offset=2)
    assert (result["recovered"], result["offset"]) == (True, 4)
    assert [(one["offset"], one["data"]) for one in result["publications"]] == [
        (5, "-"),
        (7, "a"),
        (8, "b"),
        (9, "-"),
        (10, "c"),
    ]
    assert not any("key" in one for one in result["publications"])
    await say(node, "a")
    await until(lambda: peer.data("wall:a") == ["a"])


async def test_far_more_may_be_missed_than_is_given(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is given has the bound of other recoveries (5 here), what is read has one of its own."""
    monkeypatch.setattr(recovery, "PAGE", 100)
    epoch = await say(node, "abc", 200)
    peer = await joined(node)
    result = await peer.subscribe("wall:a", recover=True, epoch=epoch)
    assert [one["offset"] for one in result["publications"]] == [598, 599, 600]
    await say(node, "defgh")
    assert await (await joined(node)).ask(
        subscribe={"channel": "wall:a", "recover": True, "epoch": epoch, "flag": 2}
    ) == error(112)
    monkeypatch.setattr(recovery, "MAX_PAGES", 5)
    result = await (await joined(node)).subscribe("wall:a", recover=True, epoch=epoch)
    assert "recovered" not in result and result["offset"] == 605


@pytest.mark.parametrize("wish", [{"epoch": "other"}, {"offset": 99}])
async def test_a_position_of_elsewhere_is_not_recovered(node: Node, wish: dict[str, object]) -> None:
    epoch = await say(node, "abc")
    result = await (await joined(node)).subscribe("wall:a", recover=True, **{"epoch": epoch, "offset": 1} | wish)
    assert "recovered" not in result and result["offset"] == 3


async def test_what_was_trimmed_is_not_recovered(node: Node) -> None:
    """A key's newest publication may be among it."""
    epoch = await say(node, "abc")
    await node.broker.forget("wall:a")
    await say(node, "a")
    result = await (await joined(node)).subscribe("wall:a", recover=True, epoch=epoch, offset=1)
    assert "recovered" not in result and result["offset"] == 4


async def test_a_recovery_is_filtered_and_conflated(node: Node) -> None:
    epoch = await say(node, "abcabc")
    tf = {"key": "of", "cmp": "neq", "val": "b"}
    result = await (await joined(node)).subscribe("wall:a", tf=tf, recover=True, epoch=epoch)
    assert [one["offset"] for one in result["publications"]] == [4, 6]
