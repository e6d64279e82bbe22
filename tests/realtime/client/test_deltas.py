"""Subscribing with deltas, on a real hub and Redis: what is granted, and what a client makes of what it is sent."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec import structs

from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.engine.publication import StreamPosition
from flotilla.realtime.node.node import Node
from flotilla.realtime.protocol.fossil import apply_delta
from tests.realtime.client.nodes import ALLOWED, hurry
from tests.realtime.client.peers import Peer, error, joined
from tests.store.redis_process import until

pytestmark = pytest.mark.asyncio
TEXT = "all this is the same in every publication, and long enough"
KEPT = {"history_size": 50, "history_ttl": 60.0, "force_recovery": True}
DELTAS = {"allowed_delta_types": ("fossil",)}
OPTIONS = {
    "always": ChannelOptions(**ALLOWED, **KEPT, **DELTAS, delta_publish=True),
    "asked": ChannelOptions(**ALLOWED, **KEPT, **DELTAS),
    "unkept": ChannelOptions(**ALLOWED, **DELTAS, delta_publish=True),
    "never": ChannelOptions(**ALLOWED, **KEPT, delta_publish=True),
}


@pytest.fixture
def node(node: Node) -> Node:
    hurry(node, namespaces=OPTIONS)
    return node


async def publish(node: Node, channel: str, *numbers: int, **keywords: Any) -> StreamPosition:
    """Publications with these numbers."""
    for number in numbers:
        body = b'{"data":%b,"tags":{"n":"%d"}}' % (data_of(number), number)
        position = await node.broker.publish(channel, body, OPTIONS[channel.partition(":")[0]], **keywords)
    return position


def data_of(number: int) -> bytes:
    return json.dumps({"text": TEXT, "n": number, "ü": "🚀\ud83d"[: number % 3]}).encode()


def applied(publications: list[dict[str, Any]], before: bytes = b"") -> Iterator[tuple[int, bool]]:
    """The numbers of publications, as an SDK reads them, and whether each came as a delta."""
    for pub in publications:
        data = pub["data"].encode()
        before = apply_delta(before, data) if pub.get("delta") else data
        number = json.loads(before)["n"]
        assert before == data_of(number) and pub["tags"] == {"n": str(number)}
        yield number, pub.get("delta", False)


async def seen(peer: Peer, channel: str, count: int) -> list[tuple[int, bool]]:
    await until(lambda: len(peer.pushes("pub", channel)) >= count)
    return list(applied(peer.pushes("pub", channel)))


async def test_what_changes_is_sent_alone(node: Node) -> None:
    peer, plain = await joined(node), await joined(node)
    result = await peer.subscribe("always:a", delta="fossil")
    assert result["delta"] is True
    assert "delta" not in await plain.subscribe("always:a")
    await publish(node, "always:a", 1, 2, 3, 4)
    assert await seen(peer, "always:a", 4) == [(1, False), (2, True), (3, True), (4, True)]
    assert [one["data"]["n"] for one in plain.pushes("pub", "always:a")] == [1, 2, 3, 4]
    assert all(set(one) == {"data", "tags", "offset"} for one in plain.pushes("pub", "always:a"))


async def test_a_publication_can_ask_for_it(node: Node) -> None:
    """The mark is seen by nobody, in history neither, and what is refilled from there is marked as well."""
    peer, plain = await joined(node), await joined(node)
    await peer.subscribe("asked:a", delta="fossil")
    await plain.subscribe("asked:a")
    await publish(node, "asked:a", 1, 2)
    await publish(node, "asked:a", 3, 4, delta=True)
    assert await seen(peer, "asked:a", 4) == [(1, False), (2, False), (3, True), (4, True)]
    assert all(set(one) == {"data", "tags", "offset"} for one in plain.pushes("pub", "asked:a"))
    kept = (await plain.ask(history={"channel": "asked:a", "limit": -1}))["history"]["publications"]
    assert all(set(one) == {"data", "tags", "offset"} for one in kept) and len(kept) == 4


async def test_there_need_be_no_history(node: Node) -> None:
    peer = await joined(node)
    await peer.subscribe("unkept:a", delta="fossil")
    await publish(node, "unkept:a", 1, 2, 3)
    assert await seen(peer, "unkept:a", 3) == [(1, False), (2, True), (3, True)]


async def test_what_is_not_kept_is_in_the_chain(node: Node) -> None:
    """The publication behind it is a delta against it."""
    peer = await joined(node)
    await peer.subscribe("always:a", delta="fossil")
    await publish(node, "always:a", 1)
    await publish(node, "always:a", 2, skip_history=True)
    await publish(node, "always:a", 3)
    assert await seen(peer, "always:a", 3) == [(1, False), (2, True), (3, True)]


async def test_what_was_missed_is_whole_and_the_next_one_too(node: Node) -> None:
    """In the reply, and where it is too much for that, behind it."""
    peer = await joined(node)
    await publish(node, "always:a", 1)
    result = await peer.subscribe("always:a", recover=True, epoch="", offset=0, delta="fossil")
    assert (result["recovered"], result["delta"]) == (True, True)
    assert list(applied(result["publications"])) == [(1, False)]
    await publish(node, "always:a", 2, 3)
    assert await seen(peer, "always:a", 2) == [(2, False), (3, True)]
    late = await joined(node)
    late.socket.waiting = 1 << 16  # there is no room in the reply
    result = await late.subscribe("always:a", recover=True, epoch="", offset=0, delta="fossil")
    assert result["recovered"] and "publications" not in result
    late.socket.waiting = 0
    assert await seen(late, "always:a", 3) == [(1, False), (2, False), (3, False)]
    await until(lambda: not node.hub.channels["always:a"].feeds)
    await publish(node, "always:a", 4, 5)
    assert (await seen(late, "always:a", 5))[3:] == [(4, False), (5, True)]
    assert (await seen(peer, "always:a", 4))[2:] == [(4, True), (5, True)]


async def test_a_gap_is_refilled_for_those_with_deltas_as_well(node: Node) -> None:
    """What the layer has lost comes from history, in its place."""
    peer = await joined(node)
    await peer.subscribe("always:a", delta="fossil")
    await publish(node, "always:a", 1)
    await seen(peer, "always:a", 1)
    announced = node.hub._on_publication
    node.hub._on_publication = lambda *_: None  # type: ignore[method-assign]
    await publish(node, "always:a", 2, 3)
    node.hub._on_publication = announced  # type: ignore[method-assign]
    await publish(node, "always:a", 4)
    assert await seen(peer, "always:a", 4) == [(1, False), (2, True), (3, True), (4, True)]


async def test_one_that_is_allowed_none_gets_none(node: Node) -> None:
    """Its result does not say so, and publications are as ever."""
    peer = await joined(node)
    assert "delta" not in await peer.subscribe("never:a", delta="fossil")
    await publish(node, "never:a", 1, 2)
    await until(lambda: [one["n"] for one in peer.data("never:a")] == [1, 2])


@pytest.mark.parametrize("delta", ["zip", "FOSSIL", 5, True])
async def test_another_kind_of_delta_is_a_bad_request(node: Node, delta: object) -> None:
    peer = await joined(node)
    peer.say(subscribe={"channel": "always:a", "delta": delta})
    assert (await peer.end())[0] == 3501


async def test_a_publication_that_could_be_too_long_as_a_text_is_refused(node: Node) -> None:
    """A client would be dropped for it whenever it came back; without deltas it may be as long."""
    peer = await joined(node)
    await peer.subscribe("always:a", delta="fossil")
    hurry(node, max_outgoing_bytes=40_000)
    quotes = [""] * 9_000  # 3 bytes each, 5 in a text
    assert await peer.ask(publish={"channel": "always:a", "data": quotes}) == error(107)
    assert await peer.ask(publish={"channel": "never:a", "data": quotes}) == {"publish": {}}


async def test_a_filter_comes_before_deltas(node: Node) -> None:
    """What a filter leaves out would be missing where a delta is applied."""
    hurry(node, namespaces=OPTIONS | {"always": structs.replace(OPTIONS["always"], allow_tags_filter=True)})
    peer = await joined(node)
    wanted = {"key": "n", "cmp": "in", "vals": ["2", "4"]}
    assert "delta" not in await peer.subscribe("always:a", delta="fossil", tf=wanted)
    await publish(node, "always:a", 1, 2, 3, 4)
    await until(lambda: [one["n"] for one in peer.data("always:a")] == [2, 4])


async def test_the_newest_publication_from_the_cache_is_whole(node: Node) -> None:
    cache = {"force_recovery_mode": "cache", "auto_cache_recover": True}
    hurry(node, namespaces=OPTIONS | {"always": structs.replace(OPTIONS["always"], **cache)})
    await publish(node, "always:a", 1, 2, 3)
    peer = await joined(node)
    result = await peer.subscribe("always:a", delta="fossil")
    assert list(applied(result["publications"])) == [(3, False)]
    await publish(node, "always:a", 4, 5)
    assert await seen(peer, "always:a", 2) == [(4, False), (5, True)]
