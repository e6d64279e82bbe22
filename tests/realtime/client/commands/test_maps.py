"""Maps, as connections see them: the state in pages, what changed since, live changes, limits and permissions."""

import asyncio
from typing import Any

import msgspec
import pytest

from flotilla.presence.keys import home_of
from flotilla.presence.registry import KEY_TTL, REFRESH_EVERY
from flotilla.presence.scopes import Scope
from flotilla.realtime.access.tokens import make_connection_token
from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.engine.map_calls import ENDS, MAX_OWNED, map_keys
from flotilla.realtime.engine.presence_maps import told_maps
from flotilla.realtime.node.node import Node
from flotilla.realtime.protocol.maps import entry
from flotilla.store import placement_of
from tests.realtime.client.nodes import hurry
from tests.realtime.client.peers import Peer, ProtobufPeer, error
from tests.store.redis_process import until

pytestmark = pytest.mark.asyncio

PEERS = pytest.mark.parametrize("kind", [Peer, ProtobufPeer], ids=["json", "protobuf"])


async def came(node: Node, kind: type[Peer] = Peer, user: str = "") -> Peer:
    peer = kind(node)
    await peer.connect(**({"token": make_connection_token(user)} if user else {}))
    return peer


async def put(peer: Peer, key: str, data: Any, channel: str = "map:a") -> dict[str, Any]:
    return await peer.ask(publish={"channel": channel, "type": 1, "key": key, "data": data})


async def take_out(peer: Peer, key: str, channel: str = "map:a") -> dict[str, Any]:
    return await peer.ask(publish={"channel": channel, "type": 1, "key": key, "removed": True})


async def page(peer: Peer, channel: str = "map:a", **request: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await peer.ask(subscribe={"channel": channel, "type": 1, "phase": 2, **request}))[
        "subscribe"
    ]
    return found


async def synced(peer: Peer, channel: str = "map:a", **request: Any) -> dict[str, Any]:
    """Page through the state as the SDK does, until it is live; gives the entries and the last result."""
    entries: dict[str, Any] = {}
    result = await page(peer, channel, **request)
    first = result
    while result.get("phase"):
        entries |= {one["key"]: one.get("data") for one in result.get("state", ())}
        more = {"epoch": first["epoch"], "offset": first.get("offset", 0)}
        if "cursor" in result:
            result = await page(peer, channel, **request, **more, cursor=result["cursor"])
        else:
            result = await page(peer, channel, **request, **more, phase=1)
            break
    entries |= {one["key"]: one.get("data") for one in result.get("state", ())}
    for one in result.get("publications", ()):
        if one.get("removed"):
            entries.pop(one["key"], None)
        else:
            entries[one["key"]] = one["data"]
    return {"entries": entries, **result}


def changes(peer: Peer, channel: str = "map:a") -> list[tuple[Any, ...]]:
    """Live changes: key, data (None: removed), offset."""
    return [
        (one["key"], None if one.get("removed") else one.get("data"), one["offset"])
        for one in peer.pushes("pub", channel)
    ]


@PEERS
async def test_a_change_reaches_whoever_is_live(node: Node, kind: type[Peer]) -> None:
    writer, reader = await came(node), await came(node, kind)
    assert await put(writer, "k", {"x": 1}) == {"publish": {}}
    result = await page(reader)
    assert result["type"] == 1 and not result.get("phase") and result["recoverable"] and result["positioned"]
    (entry,) = result["state"]
    assert (entry["key"], entry["data"], entry["offset"]) == ("k", {"x": 1}, 1)
    assert entry["info"]["client"] == writer.client.id
    await put(writer, "k", 2)
    await put(writer, "other", [3])
    assert await take_out(writer, "k") == {"publish": {}}
    await until(lambda: len(changes(reader)) == 3)
    assert changes(reader) == [("k", 2, 2), ("other", [3], 3), ("k", None, 4)]
    removal = reader.pushes("pub", "map:a")[-1]
    assert removal["removed"] is True and "data" not in removal
    assert (await synced(await came(node, kind)))["entries"] == {"other": [3]}


@PEERS
async def test_a_state_comes_in_pages_of_keys_in_order(node: Node, kind: type[Peer]) -> None:
    """And what changes meanwhile is in none of them twice: it follows as a change."""
    writer, reader = await came(node), await came(node, kind)
    for number in range(25):
        await put(writer, f"k{number:02}", number)
    first = await page(reader, limit=10)
    assert [one["key"] for one in first["state"]] == [f"k{number:02}" for number in range(10)]
    assert (first["phase"], first["offset"], first["type"]) == (2, 25, 1)
    await put(writer, "k00", "new")
    await take_out(writer, "k15")
    at = {"epoch": first["epoch"], "offset": first["offset"], "limit": 10}
    second = await page(reader, cursor=first["cursor"], **at)
    assert [one["key"] for one in second["state"]] == [f"k{number:02}" for number in (*range(10, 15), *range(16, 21))]
    assert second["offset"] == 25
    last = await page(reader, cursor=second["cursor"], **at)
    assert not last.get("phase") and [one["data"] for one in last["state"]] == [21, 22, 23, 24]
    assert [(one["key"], one["offset"]) for one in last["publications"]] == [("k00", 26), ("k15", 27)]
    assert last["offset"] == 27 and "recovered" not in last


async def test_many_changes_meanwhile_are_paged_as_well(node: Node) -> None:
    writer, reader = await came(node), await came(node)
    for number in range(3):
        await put(writer, f"k{number}", number)
    first = await page(reader, limit=2)
    for number in range(20):
        await put(writer, f"k{number % 3}", 100 + number)
    at = {"epoch": first["epoch"], "offset": first["offset"]}
    second = await page(reader, cursor=first["cursor"], **at)
    assert second["phase"] == 2 and "cursor" not in second and second["offset"] == 3
    offset = second["offset"]
    found = []
    for _ in range(2):
        changed = await page(reader, phase=1, epoch=at["epoch"], offset=offset, limit=8)
        assert changed["phase"] == 1
        found += changed["publications"]
        offset = changed["offset"]
    last = await page(reader, phase=1, epoch=at["epoch"], offset=offset, limit=8)
    found += last["publications"]
    assert not last.get("phase") and [one["offset"] for one in found] == list(range(4, 24))
    assert last["offset"] == 23


async def test_large_changes_meanwhile_are_paged_as_well(node: Node) -> None:
    """Few, but more bytes than are recovered at once: from the beginning again would be no better."""
    reader, options = await came(node), node.config.namespaces["map"]
    for number in range(3):
        await put(reader, f"k{number}", number)
    first = await page(reader, limit=2)
    large = b'"' + b"x" * 30_000 + b'"'
    for number in range(4):
        await node.maps.set("map:a", f"k{number % 2}", entry(f"k{number % 2}", large), options)
    at = {"epoch": first["epoch"], "offset": first["offset"]}
    last = await page(reader, cursor=first["cursor"], **at)
    assert last["phase"] == 2 and "cursor" not in last and [one["key"] for one in last["state"]] == ["k2"]
    assert "map:a" not in reader.client.subscriptions
    found, result = [], {"phase": 1, **at}
    while result.get("phase"):
        result = await page(reader, phase=1, epoch=at["epoch"], offset=result["offset"])
        found += [one["offset"] for one in result.get("publications", ())]
    assert found == [4, 5, 6, 7] and "map:a" in reader.client.subscriptions


@PEERS
async def test_who_comes_back_gets_what_changed(node: Node, kind: type[Peer]) -> None:
    writer = await came(node)
    await put(writer, "a", 1)
    before = await synced(await came(node, kind))
    await put(writer, "b", 2)
    await take_out(writer, "a")
    back = await page(await came(node, kind), phase=1, recover=True, epoch=before["epoch"], offset=before["offset"])
    assert back["recovered"] and back["was_recovering"] and back["offset"] == 3
    assert [(one["key"], one.get("removed", False)) for one in back["publications"]] == [("b", False), ("a", True)]
    again = await page(await came(node, kind), phase=1, recover=True, epoch=back["epoch"], offset=back["offset"])
    assert again["recovered"] and "publications" not in again


async def test_a_position_that_is_no_more_is_not_recovered(node: Node) -> None:
    writer = await came(node)
    for number in range(3):
        await put(writer, "a", number)
    epoch = (await synced(await came(node)))["epoch"]
    await node.broker.forget("map:a")
    for wrong in ({"epoch": "other", "offset": 3}, {"epoch": epoch, "offset": 99}, {"epoch": epoch, "offset": 1}):
        reader = await came(node)
        asked = {"channel": "map:a", "type": 1, "phase": 1, "recover": True, **wrong}
        assert await reader.ask(subscribe=asked) == error(112)
        assert "map:a" not in reader.client.subscriptions
    assert (await synced(await came(node)))["entries"] == {"a": 2}


async def test_pages_are_bounded_in_bytes(node: Node) -> None:
    writer, reader = await came(node), await came(node)
    for number in range(10):
        await put(writer, f"k{number}", "x" * 15_000)
    first = await page(reader)
    assert len(first["state"]) == 4 and first["cursor"] == "k3"
    assert len((await synced(reader))["entries"]) == 10


async def test_nothing_is_kept_of_who_only_pages(node: Node) -> None:
    reader = await came(node)
    writer = await came(node)
    for number in range(3):
        await put(writer, f"k{number}", number)
    for _ in range(5):
        await page(reader, limit=1)
    assert not reader.client.subscriptions and "map:a" not in node.hub.channels


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"type": 1}, 107),
        ({"type": 1, "phase": 0, "epoch": "x"}, 107),
        ({"type": 1, "phase": 1}, 107),
        ({"type": 1, "phase": 7}, 107),
        ({"type": 1, "phase": -1}, 107),
        ({"type": 2, "phase": 2}, 108),
        ({"type": 3, "phase": 2}, 108),
        ({"type": 4, "phase": 2}, 108),
        ({"type": -1, "phase": 2}, 108),
        ({}, 108),
        ({"type": 1, "phase": 2, "cursor": "x" * 256}, 107),
        ({"type": 1, "phase": 2, "tf": {"key": "a", "cmp": "eq", "val": "b"}}, 107),
    ],
)
async def test_what_cannot_be_asked_has_its_error(node: Node, request_: dict[str, Any], code: int) -> None:
    reader = await came(node)
    assert await reader.ask(subscribe={"channel": "map:a", **request_}) == error(code)
    assert not reader.client.subscriptions


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"type": 1, "data": 1}, 107),
        ({"type": 1, "key": "", "data": 1}, 107),
        ({"type": 1, "key": "x" * 256, "data": 1}, 107),
        ({"type": 1, "key": "k"}, 107),
        ({"type": 1, "key": "k", "data": "x" * 17_000}, 107),
        ({"type": 2, "key": "k", "data": 1}, 108),
        ({"data": 1}, 108),
        ({"type": 1, "removed": True}, 107),
    ],
)
async def test_what_cannot_be_set_has_its_error(node: Node, request_: dict[str, Any], code: int) -> None:
    writer = await came(node)
    assert await writer.ask(publish={"channel": "map:a", **request_}) == error(code)
    assert (await synced(writer))["entries"] == {}


async def test_other_channels_are_no_maps(node: Node) -> None:
    peer = await came(node)
    assert await peer.ask(subscribe={"channel": "open:a", "type": 1, "phase": 2}) == error(108)
    assert await put(peer, "k", 1, "open:a") == error(108)
    assert await peer.ask(publish={"channel": "open:a", "data": 1}) == {"publish": {}}


async def test_any_key_is_the_key_that_was_set(node: Node) -> None:
    writer, reader = await came(node), await came(node, ProtobufPeer)
    await page(reader)
    keys = ['"', "\\", "\n", "ключ", "a b", "\x7f", "-", "+", "[", "(", "😀", "k" * 255]
    for key in keys:
        assert await put(writer, key, 1) == {"publish": {}}
        assert await take_out(writer, key) == {"publish": {}}
        assert await put(writer, key, 2) == {"publish": {}}
    await until(lambda: len(changes(reader)) == 3 * len(keys))
    assert [key for key, _, _ in changes(reader)] == [key for key in keys for _ in range(3)]
    assert (await synced(await came(node), limit=1))["entries"] == dict.fromkeys(keys, 2)


async def test_limits_of_a_map(node: Node) -> None:
    writer = await came(node)
    small = "map-small:a"
    for key in "abc":
        assert await put(writer, key, 1, small) == {"publish": {}}
    assert await put(writer, "d", 1, small) == error(106)
    assert await put(writer, "a", "x" * 590, small) == {"publish": {}}
    assert await put(writer, "b", "x" * 590, small) == error(106)
    assert await put(writer, "b", "x" * 601, small) == error(107)
    assert await put(writer, "a", 2, small) == {"publish": {}}
    assert await put(writer, "b", "x" * 400, small) == {"publish": {}}
    await take_out(writer, "c", small)
    assert await put(writer, "d", 1, small) == {"publish": {}}
    for key in "abd":
        await take_out(writer, key, small)
    found = await node.maps.state(small, node.config.namespaces["map-small"])
    assert (found.keys, found.bytes, found.entries) == (0, 0, ())


async def test_entries_are_their_users(node: Node) -> None:
    ann, also_ann, bob = [await came(node, user=user) for user in ("ann", "ann", "bob")]
    channel = "map-owned:a"
    assert await put(ann, "k", 1, channel) == {"publish": {}}
    assert await put(bob, "k", 2, channel) == error(103)
    assert await take_out(bob, "k", channel) == error(103)
    assert await put(also_ann, "k", 3, channel) == {"publish": {}}
    assert await take_out(ann, "k", channel) == {"publish": {}}
    assert await put(bob, "k", 2, channel) == {"publish": {}}
    visitor, other = await came(node), await came(node)
    assert await put(visitor, "v", 1, channel) == {"publish": {}}
    assert await put(other, "v", 1, channel) == error(103)
    assert await put(bob, "v", 1, channel) == error(103)


async def test_a_key_may_be_the_clients_own(node: Node) -> None:
    ann, bob = [await came(node, user=user) for user in ("ann", "bob")]
    channel = "map-mine:a"
    await put(ann, "whatever", 1, channel)
    await put(bob, ann.client.id, 2, channel)
    assert (await synced(ann, channel))["entries"] == {ann.client.id: 1, bob.client.id: 2}
    await take_out(bob, ann.client.id, channel)
    assert (await synced(bob, channel))["entries"] == {ann.client.id: 1}


async def test_entries_end_and_are_told_as_removed(node: Node) -> None:
    writer, reader = await came(node), await came(node)
    await synced(reader, "map-brief:a")
    await put(writer, "k", 1, "map-brief:a")
    await until(lambda: changes(reader, "map-brief:a") == [("k", 1, 1), ("k", None, 2)])
    found = await node.maps.state("map-brief:a", node.config.namespaces["map-brief"])
    assert (found.keys, found.bytes) == (0, 0)


async def test_what_a_client_has_set_leaves_with_it(node: Node) -> None:
    stays, leaves, ends = await came(node), await came(node), await came(node)
    channel = "map-leaving:a"
    assert await put(stays, "k", 1, channel) == error(103)
    for peer, key in ((stays, "s"), (leaves, "l"), (ends, "e")):
        await synced(peer, channel)
        await put(peer, key, 1, channel)
        await put(peer, f"{key}2", 1, channel)
    await put(stays, "l2", 2, channel)  # which is its own from now on
    await leaves.ask(unsubscribe={"channel": channel})
    await until(lambda: ("l", None, 8) in changes(stays, channel))
    ends.client.closed(1000)
    await until(lambda: len(changes(stays, channel)) == 10)
    assert sorted(key for key, data, _ in changes(stays, channel) if data is None) == ["e", "e2", "l"]
    assert (await synced(await came(node), channel))["entries"] == {"s": 1, "s2": 1, "l2": 2}


@PEERS
async def test_bytes_of_any_kind(node: Node, kind: type[Peer]) -> None:
    writer = await came(node, ProtobufPeer)
    reader = await came(node, kind)
    if kind is Peer:
        assert await reader.ask(subscribe={"channel": "map-raw:a", "type": 1, "phase": 2}) == error(108)
        return
    await put(writer, "k", b"\x00\xff", "map-raw:a")
    result = await synced(reader, "map-raw:a")
    assert result["entries"] == {"k": b"\x00\xff"}


async def test_pages_race_with_writers(node: Node) -> None:
    """Whoever pages while others set and remove has in the end what the map has."""
    hurry(node, recovery_max_publications=300)
    writer = await came(node)
    done = asyncio.Event()

    async def write() -> None:
        for number in range(300):
            key = f"k{number * 7 % 30:02}"
            await (take_out(writer, key) if number % 4 == 3 else put(writer, key, number))
        done.set()

    task = asyncio.create_task(write())
    readers = []
    while not done.is_set():
        reader = await came(node)
        try:
            readers.append((reader, await synced(reader, limit=7)))
        except KeyError:
            reader.client.closed(1000)
    await task
    truth = (await synced(await came(node)))["entries"]
    assert readers
    for reader, found in readers:

        def mirror(reader: Peer = reader, found: dict[str, Any] = found) -> dict[str, Any]:
            entries = dict(found["entries"])
            for key, data, _ in changes(reader):
                if data is None:
                    entries.pop(key, None)
                else:
                    entries[key] = data
            return entries

        await until(lambda: mirror() == truth)
        offsets = [found["offset"], *(offset for _, _, offset in changes(reader))]
        assert offsets == list(range(offsets[0], offsets[0] + len(offsets)))


# Maps of presence


async def watching(peer: Peer, base: str, kind: int) -> dict[str, Any]:
    channel = f"{('$clients', '$users')[kind - 2]}:{base}"
    return await synced(peer, channel, type=kind)


@PEERS
async def test_who_is_present_is_a_map(node: Node, kind: type[Peer]) -> None:
    """Of connections with what is known of them, and of users, each once; visitors are no users."""
    reader = await came(node, kind)
    ann, also_ann, bob = [await came(node, user=user) for user in ("ann", "ann", "bob")]
    for peer in (ann, also_ann):
        await peer.subscribe("watched:a")
    assert (await watching(reader, "watched:a", 2))["entries"].keys() == {ann.client.id, also_ann.client.id}
    users = await watching(reader, "watched:a", 3)
    assert users["entries"].keys() == {"ann"} and users["type"] == 1
    visitor, also_bob = await came(node), await came(node, user="bob")
    for peer in (bob, visitor, also_bob):
        await peer.subscribe("watched:a")
    await ann.ask(unsubscribe={"channel": "watched:a"})
    await until(lambda: len(changes(reader, "$clients:watched:a")) == 4)
    also_ann.client.closed(1000)
    await until(lambda: len(changes(reader, "$users:watched:a")) == 2)
    await until(lambda: len(changes(reader, "$clients:watched:a")) == 5)
    came_, *_ = reader.pushes("pub", "$clients:watched:a")
    assert came_["info"] == {"user": "bob", "client": bob.client.id} and came_["key"] == bob.client.id
    assert [(one["key"], one.get("removed", False)) for one in reader.pushes("pub", "$users:watched:a")] == [
        ("bob", False),
        ("ann", True),
    ]
    late = await came(node, kind)
    present = {bob.client.id, visitor.client.id, also_bob.client.id}
    assert (await watching(late, "watched:a", 2))["entries"].keys() == present
    assert (await watching(late, "watched:a", 3))["entries"].keys() == {"bob"}
    presence = (await late.ask(presence={"channel": "watched:a"}))["presence"]["presence"]
    assert presence.keys() == present


async def test_maps_of_presence_follow_the_channels_presence(node: Node) -> None:
    """And end when that ends."""
    peer = await came(node)
    for channel, kind, code in (
        ("$clients:open:a", 2, 102),  # whose namespace has none
        ("$clients:nowhere:a", 2, 102),
        ("$clients:watched:a", 1, 108),
        ("$clients:watched:a", 3, 108),
        ("$users:watched:a", 2, 108),
        ("$clients:watched:a", 0, 103),
        ("$clients:watched-inside:a", 2, 103),
        ("$clients:$clients:watched:a", 2, 102),
    ):
        asked = {"channel": channel, "type": kind, "phase": 2}
        assert await peer.ask(subscribe=asked) == error(code), (channel, kind)
    await peer.subscribe("watched-inside:a")
    for kind in (2, 3):
        await watching(peer, "watched-inside:a", kind)
    await peer.ask(unsubscribe={"channel": "watched-inside:a"})
    for name in ("$clients", "$users"):
        assert peer.pushes("unsubscribe", f"{name}:watched-inside:a") == [{"code": 2502, "reason": "state invalidated"}]
    assert not peer.client.subscriptions
    for asked in ({"key": "k", "data": 1}, {"key": "k", "removed": True}):
        assert await peer.ask(publish={"channel": "$clients:watched:a", "type": 1, **asked}) == error(103)
    assert await peer.ask(publish={"channel": "$clients:watched:a", "data": 1}) == error(108)


async def test_a_dead_instances_connections_leave_their_maps(node: Node, other: Node) -> None:
    reader = await came(node)
    lost = await came(other, user="ann")
    stays = await came(node, user="bob")
    for peer in (lost, stays):
        await peer.subscribe("watched:a")
    await synced(lost, "map-leaving:a")
    await put(lost, "k", 1, "map-leaving:a")
    await synced(reader, "map-leaving:a")
    for kind in (2, 3):
        await watching(reader, "watched:a", kind)
    await node.presence.expire(other.presence.incarnation)
    await until(lambda: [one["key"] for one in reader.pushes("pub", "$users:watched:a")] == ["ann"])
    await until(lambda: [one["key"] for one in reader.pushes("pub", "$clients:watched:a")] == [lost.client.id])
    await until(lambda: changes(reader, "map-leaving:a") == [("k", None, 2)])
    again = await put(lost, "k", 2, "map-leaving:a")
    assert again == error(100) or lost.socket.closed
    assert (await synced(await came(node), "map-leaving:a"))["entries"] == {}


async def test_a_new_info_is_told(node: Node) -> None:
    reader = await came(node)
    await watching(reader, "watched:a", 2)
    scope = Scope.channel("watched:a")
    await node.presence.add(scope, "one", "ann", b'{"user":"ann","client":"one"}')
    await node.presence.add(scope, "one", "ann", b'{"user":"ann","client":"one","conn_info":1}')
    await until(lambda: len(reader.pushes("pub", "$clients:watched:a")) == 2)
    assert reader.pushes("pub", "$clients:watched:a")[1]["info"]["conn_info"] == 1
    await node.presence.remove(scope, "one")


async def test_presence_is_said_again_when_redis_has_lost_it(node: Node) -> None:
    """Entries come back into presence without a join, and into its maps."""
    peer = await came(node, user="ann")
    await peer.subscribe("watched:a")
    scope = Scope.channel("watched:a")
    lost = home_of(scope).of(node.presence.incarnation)[:3]
    for name in ("$clients:watched:a", "$users:watched:a"):
        lost += map_keys(placement_of(name))[4:9]
    await node.store.shard_for(placement_of("watched:a")).execute("DEL", *lost)
    reader = await came(node)
    assert (await watching(reader, "watched:a", 2))["entries"] == {}
    assert (await watching(reader, "watched:a", 3))["entries"] == {}
    node.presence._own.current().doubt(scope)
    node.presence._own.in_doubt.set()
    await until(lambda: [one["key"] for one in reader.pushes("pub", "$users:watched:a")] == ["ann"])
    await until(lambda: [one["key"] for one in reader.pushes("pub", "$clients:watched:a")] == [peer.client.id])


async def test_who_leaves_while_a_page_is_read_does_not_go_on_watching(node: Node) -> None:
    """What allows a map of presence may end between the look at it and the subscription."""
    peer = await came(node)
    await peer.subscribe("watched-inside:a")
    asked = peer.say(subscribe={"channel": "$clients:watched-inside:a", "type": 2, "phase": 2})
    assert await peer.client.end_channel("watched-inside:a", 2500, "")
    assert await peer.reply(asked) == error(103)
    assert "$clients:watched-inside:a" not in peer.client.subscriptions


async def test_who_may_not_any_more_when_a_page_was_read_is_not_let_in(node: Node) -> None:
    """Access that ends between the look at it and the subscription is looked at again."""
    answers, looked = [True], asyncio.Event()

    async def may(user: Any, channel: str, data: Any) -> bool:
        looked.set()
        return answers[-1]

    mapped = msgspec.structs.replace(node.config.namespaces["map"], subscribe_permission=may)
    hurry(node, namespaces={**node.config.namespaces, "asked": mapped})
    peer = await came(node)
    reading = peer.say(subscribe={"channel": "asked:a", "type": 1, "phase": 2})
    await looked.wait()
    answers.append(False)
    node.reauthorize(peer.client)
    assert await peer.reply(reading) == error(103)
    assert not peer.client.subscriptions


async def test_what_outlived_everybody_leaves_with_the_first_who_comes(node: Node) -> None:
    """All instances were dead for so long that presence itself expired: nobody was left to remove what they had set."""
    channel = "map-leaving:a"
    gone = await came(node)
    await synced(gone, channel)
    for key in ("k", "line\nbreak"):
        await put(gone, key, 1, channel)
    scope = Scope.channel(channel)
    home = home_of(scope)
    await node.store.shard_for(home.placement).execute("DEL", *home.of(node.presence.incarnation)[:3])
    new = await came(node)
    await synced(new, channel)
    await put(new, "mine", 1, channel)
    await until(lambda: changes(new, channel)[-1:] == [("mine", 1, 5)])
    assert (await synced(await came(node), channel))["entries"] == {"mine": 1}


async def test_positions_in_maps_of_presence_end_before_presence_does(node: Node) -> None:
    """Presence that expires tells nobody, so no position may lead past it."""
    peer = await came(node)
    await peer.subscribe("watched:a")
    for name in ("$clients", "$users"):
        place = placement_of(f"{name}:watched:a")
        lasts = await node.store.shard_for(place).execute("PTTL", map_keys(place)[0])
        assert int(lasts) / 1000 <= KEY_TTL - REFRESH_EVERY


async def test_what_leaves_with_clients_holds_redis_no_longer_than_what_ends() -> None:
    told = told_maps("map-leaving:a", ChannelOptions(map=True, map_remove_client_on_unsubscribe=True))
    assert told.most * MAX_OWNED <= ENDS


async def test_left_and_back_at_once_begins_without_entries(node: Node) -> None:
    channel = "map-leaving:a"
    reader, peer = await came(node), await came(node)
    await synced(reader, channel)
    await synced(peer, channel)
    for number in range(10):
        await put(peer, f"k{number}", number, channel)
        peer.say(unsubscribe={"channel": channel})
        await synced(peer, channel)
    await put(peer, "last", 1, channel)
    await until(lambda: ("last", 1) in [one[:2] for one in changes(reader, channel)])
    await until(lambda: len(changes(reader, channel)) == 21)
    assert (await synced(await came(node), channel))["entries"] == {"last": 1}
