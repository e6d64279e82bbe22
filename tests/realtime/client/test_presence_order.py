"""Presence follows a connection's subscriptions in the order of its commands, whatever is under way."""

import asyncio
import json
from typing import Any

import pytest

from flotilla.presence import Presence
from flotilla.presence.signals import user_joined, user_left
from flotilla.realtime.client import command_time
from flotilla.realtime.node.node import Node
from flotilla.realtime.node.operations import subscribe, unsubscribe
from flotilla.realtime.protocol.codes import DisconnectCode
from tests.realtime.client.peers import Peer
from tests.store.redis_process import until

pytestmark = pytest.mark.asyncio

ROOM = "people:room"
SUBSCRIBE = {"subscribe": {"channel": ROOM}}
UNSUBSCRIBE = {"unsubscribe": {"channel": ROOM}}
FIRST_COMMANDS = {
    "nothing": [],
    "presence": [{"presence": {"channel": "open:other"}}],
    "history": [{"history": {"channel": "open:other"}}],
    "another subscribe": [{"subscribe": {"channel": "people:other"}}],
}


def say_together(peer: Peer, *requests: dict[str, Any]) -> int:
    """One message with many commands; returns the id of the last."""
    ids = [next(peer._ids) for _ in requests]
    lines = [json.dumps({"id": id, **request}) for id, request in zip(ids, requests, strict=True)]
    peer.client.receive("\n".join(lines))
    return ids[-1]


def comings(watcher: Peer, client: str) -> list[str]:
    """The joins and leaves of a client in ROOM, as a watcher saw them."""
    pushes = [line["push"] for line in watcher.socket.lines if line.get("push", {}).get("channel") == ROOM]
    kinds = [(kind, push[kind]["info"]["client"]) for push in pushes for kind in ("join", "leave") if kind in push]
    return [kind for kind, who in kinds if who == client]


async def settles(node: Node, watcher: Peer, client: str, expected: list[str]) -> None:
    """The watcher sees these and the members agree; and it stays so when everything under way is over."""
    await until(lambda: comings(watcher, client)[: len(expected)] == expected, what=f"{expected}")
    await quiet(node)
    marker = Peer(node)
    await marker.connect()
    await marker.subscribe(ROOM)  # what was announced before has arrived when this has
    await until(lambda: comings(watcher, marker.client.id) == ["join"])
    assert comings(watcher, client) == expected
    members = await node.presence.members(f"c:{ROOM}")
    assert (client in members) == (expected[-1] == "join")


async def quiet(node: Node) -> None:
    """Nothing of presence is under way any more, and nothing of it is kept."""
    await until(lambda: not node.presence.busy, what="presence at rest")


@pytest.mark.parametrize("first", FIRST_COMMANDS)
async def test_who_leaves_and_comes_back_in_one_message_is_present(node: Node, first: str) -> None:
    """As `subscribe(); unsubscribe(); subscribe()` does in the JavaScript SDK."""
    watcher, peer = Peer(node), Peer(node)
    await watcher.connect()
    await watcher.subscribe(ROOM)
    await peer.connect()
    last = say_together(peer, *FIRST_COMMANDS[first], SUBSCRIBE, UNSUBSCRIBE, SUBSCRIBE)
    assert "subscribe" in await peer.reply(last)
    await settles(node, watcher, peer.client.id, ["join", "leave", "join"])


async def test_who_leaves_last_is_absent(node: Node) -> None:
    """However often it came before."""
    watcher, peer = Peer(node), Peer(node)
    await watcher.connect()
    await watcher.subscribe(ROOM)
    await peer.connect()
    last = say_together(peer, *[SUBSCRIBE, UNSUBSCRIBE] * 4)
    await peer.reply(last)
    await settles(node, watcher, peer.client.id, ["join", "leave"] * 4)


async def test_a_kicked_client_that_comes_back_at_once_is_present(node: Node) -> None:
    """The server's unsubscribe and the client's subscribe keep their order."""
    watcher, peer = Peer(node), Peer(node)
    await watcher.connect()
    await watcher.subscribe(ROOM)
    await peer.connect()
    await peer.subscribe(ROOM)
    assert await peer.client.end_channel(ROOM, 2000, "kicked")
    assert "subscribe" in await peer.ask(**SUBSCRIBE)
    await settles(node, watcher, peer.client.id, ["join", "leave", "join"])


async def test_a_servers_subscribe_after_its_unsubscribe_is_present(node: Node) -> None:
    """Server-side subscriptions, taken away and given again by two commands."""
    watcher, peer = Peer(node), Peer(node)
    await watcher.connect()
    await watcher.subscribe(ROOM)
    await peer.connect()
    client = peer.client.id
    give = subscribe.Subscribe(channel=ROOM, client=client)
    assert await subscribe.carry_out(node, give) == 1
    take = unsubscribe.Unsubscribe(channel=ROOM, client=client)
    taken = asyncio.ensure_future(unsubscribe.carry_out(node, take))
    await until(lambda: ROOM not in peer.client.subscriptions)
    assert await subscribe.carry_out(node, give) == 1
    assert await taken == 1
    await settles(node, watcher, client, ["join", "leave", "join"])


async def test_two_connections_of_one_user_do_not_disturb_each_other(node: Node) -> None:
    """One leaves while the other enters."""
    watcher, one, other = Peer(node), Peer(node), Peer(node)
    for peer in (watcher, one, other):
        await peer.connect()
    await watcher.subscribe(ROOM)
    await one.subscribe(ROOM)
    say_together(one, UNSUBSCRIBE, SUBSCRIBE, UNSUBSCRIBE)
    last = say_together(other, SUBSCRIBE, UNSUBSCRIBE, SUBSCRIBE)
    await other.reply(last)
    await settles(node, watcher, one.client.id, ["join", "leave", "join", "leave"])
    await settles(node, watcher, other.client.id, ["join", "leave", "join"])


async def test_a_subscribe_given_up_while_it_enters_leaves_nothing_and_may_come_again(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes too long, is answered with an error, and the next is present; after the last leave nobody is."""
    monkeypatch.setattr(command_time, "COMMAND_WITHIN", 0.3)
    watcher, peer = Peer(node), Peer(node)
    await watcher.connect()
    await watcher.subscribe(ROOM)
    await peer.connect()
    inner, slow = node.presence._entries.add, [True]

    async def add(*args: Any, **rest: Any) -> bool:
        first = await inner(*args, **rest)
        if slow and slow.pop():
            await asyncio.Event().wait()  # its answer does not come
        return first

    monkeypatch.setattr(node.presence._entries, "add", add)
    assert (await peer.ask(**SUBSCRIBE))["error"]["code"] == 100
    monkeypatch.undo()
    assert "subscribe" in await peer.ask(**SUBSCRIBE)
    await quiet(node)
    assert peer.client.id in await node.presence.members(f"c:{ROOM}")
    await peer.ask(**UNSUBSCRIBE)
    await quiet(node)
    assert peer.client.id not in await node.presence.members(f"c:{ROOM}")
    seen = comings(watcher, peer.client.id)
    assert seen.count("join") == seen.count("leave") and seen[::2] == ["join"] * seen.count("join")


async def test_a_subscription_that_is_over_takes_no_other_out_of_presence(node: Node) -> None:
    """Forgetting it again, as an error path may, does not meet its successor."""
    peer = Peer(node)
    await peer.connect()
    await peer.subscribe(ROOM)
    old = peer.client.subscriptions[ROOM]
    await peer.ask(**UNSUBSCRIBE)
    await peer.subscribe(ROOM)
    peer.client.forget_subscription(old)
    await quiet(node)
    assert peer.client.id in await node.presence.members(f"c:{ROOM}")


async def test_a_close_amid_the_commands_leaves_nobody(node: Node) -> None:
    """Neither a ghost nor a second leave."""
    watcher, peer = Peer(node), Peer(node)
    await watcher.connect()
    await watcher.subscribe(ROOM)
    await peer.connect()
    client = peer.client.id
    await peer.subscribe(ROOM)
    say_together(peer, UNSUBSCRIBE, SUBSCRIBE, UNSUBSCRIBE, SUBSCRIBE)
    await asyncio.sleep(0)
    peer.client.disconnect(DisconnectCode.FORCE_DISCONNECT)
    await node.idle()
    await quiet(node)
    assert client not in await node.presence.members(f"c:{ROOM}")
    await until(lambda: comings(watcher, client)[-1:] == ["leave"])
    seen = comings(watcher, client)
    assert seen == ["join", "leave"] * (len(seen) // 2)


async def test_signals_of_a_user_come_in_order(node: Node) -> None:
    """Joined, left, joined: as presence went."""
    told: list[str] = []

    def joined(scope: str, **rest: Any) -> None:
        told.extend(["joined"] * (scope == f"c:{ROOM}"))

    async def left(scope: str, **rest: Any) -> None:
        told.extend(["left"] * (scope == f"c:{ROOM}"))

    user_joined.connect(joined, sender=Presence)
    user_left.connect(left, sender=Presence)
    try:
        peer = Peer(node)
        await peer.connect()
        await peer.reply(say_together(peer, SUBSCRIBE, UNSUBSCRIBE, SUBSCRIBE, UNSUBSCRIBE, SUBSCRIBE))
        await until(lambda: len(told) >= 5)
        await quiet(node)
        assert told == ["joined", "left", "joined", "left", "joined"]
    finally:
        user_joined.disconnect(joined, sender=Presence)
        user_left.disconnect(left, sender=Presence)
