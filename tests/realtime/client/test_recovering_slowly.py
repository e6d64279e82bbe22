"""What was missed goes into the reply where it is small, else it follows it: nothing keeps the reply from coming."""

import json
from typing import Any

import msgspec
import pytest

from flotilla.realtime.access.identity import Identity, ServerSub
from flotilla.realtime.client.subscriptions import IN_REPLY, add_server_side
from flotilla.realtime.engine.pace import MIN
from flotilla.realtime.node.node import Node
from tests.realtime.client.peers import Peer
from tests.store.redis_process import until

pytestmark = pytest.mark.asyncio

LARGE = "x" * 30_000


async def _published(node: Node, channel: str, count: int, filler: str = "") -> str:
    """So many publications; gives the epoch."""
    options = node.config.namespaces["open"]
    body = json.dumps({"data": filler}).encode()
    return [await node.broker.publish(channel, body, options) for _ in range(count)][-1].epoch


def more(node: Node) -> None:
    node.config = msgspec.structs.replace(node.config, recovery_max_bytes=500_000)


def offsets(peer: Peer, channel: str = "open:a") -> list[int]:
    return [publication["offset"] for publication in peer.pushes("pub", channel)]


async def _back(peer: Peer, epoch: str, channel: str = "open:a") -> Any:
    return await peer.subscribe(channel, recover=True, epoch=epoch)


async def test_a_small_recovery_is_in_the_reply(node: Node) -> None:
    """One message is cheaper than several."""
    peer = Peer(node)
    await peer.connect()
    result = await _back(peer, await _published(node, "open:a", 3))
    assert [one["offset"] for one in result["publications"]] == [1, 2, 3]
    assert not peer.pushes("pub", "open:a")


async def test_a_large_one_follows_the_reply(node: Node) -> None:
    """The reply gives the client's own offset; each publication moves it."""
    more(node)
    peer = Peer(node)
    await peer.connect()
    result = await _back(peer, await _published(node, "open:a", 5, LARGE))
    assert (result["was_recovering"], result["recovered"], result.get("offset", 0)) == (True, True, 0)
    assert "publications" not in result
    await until(lambda: offsets(peer) == [1, 2, 3, 4, 5])
    await _published(node, "open:a", 1)
    await until(lambda: offsets(peer) == [1, 2, 3, 4, 5, 6])


async def test_what_waits_at_the_socket_counts(node: Node) -> None:
    """A reply that is small but behind much that is unread would come too late."""
    peer = Peer(node)
    await peer.connect()
    epoch = await _published(node, "open:a", 3, "x" * 1000)
    peer.socket.waiting = IN_REPLY
    result = await _back(peer, epoch)
    assert result["recovered"] and "publications" not in result
    assert not peer.pushes("pub", "open:a")
    peer.socket.waiting = 0
    await until(lambda: offsets(peer) == [1, 2, 3])


async def test_the_connect_reply_has_one_budget(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """For all server-side subscriptions together."""
    names = [f"open:{n}" for n in range(4)]
    epochs = {name: await _published(node, name, 1, LARGE) for name in names}

    async def known(*_: Any, **__: Any) -> Identity:
        return Identity(user="ann", channels=tuple(ServerSub(name) for name in names))

    monkeypatch.setattr("flotilla.realtime.client.commands.connect.authenticate", known)
    peer = Peer(node)
    reply = await peer.connect(subs={name: {"recover": True, "epoch": epochs[name]} for name in names})
    assert all(reply["subs"][name]["recovered"] for name in names)
    inside = [name for name in names if "publications" in reply["subs"][name]]
    assert len(inside) == 2
    for name in names:
        await until(lambda name=name: len(peer.pushes("pub", name)) == (name not in inside))  # type: ignore[misc]


async def test_what_the_server_gives_goes_at_the_clients_pace(node: Node) -> None:
    """A subscription that was added while connected."""
    more(node)
    peer = Peer(node)
    await peer.connect()
    epoch = await _published(node, "open:a", 5, LARGE)
    peer.socket.waiting = MIN
    since = (await node.broker.history("open:a", node.config.namespaces["open"])).top._replace(offset=0)
    assert since.epoch == epoch
    assert await add_server_side(peer.client, "open:a", node.config.namespaces["open"], position=since)
    assert peer.pushes("subscribe", "open:a")
    assert not offsets(peer)
    peer.socket.waiting = 0
    await until(lambda: offsets(peer) == [1, 2, 3, 4, 5])


async def test_an_unsubscribe_ends_it(node: Node) -> None:
    """After its reply nothing comes any more."""
    more(node)
    peer = Peer(node)
    await peer.connect()
    epoch = await _published(node, "open:a", 5, LARGE)
    peer.socket.waiting = MIN
    await _back(peer, epoch)
    assert await peer.ask(unsubscribe={"channel": "open:a"}) == {"unsubscribe": {}}
    peer.socket.waiting = 0
    await until(lambda: not node.hub.feeder._lines)
    assert not offsets(peer)


async def test_a_client_that_takes_nothing_is_dropped(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """3008, as any other that does not read."""
    monkeypatch.setattr("flotilla.realtime.engine.feeder.STALLED", 0.1)
    peer = Peer(node)
    await peer.connect()
    epoch = await _published(node, "open:a", 3)
    peer.socket.waiting = IN_REPLY
    await _back(peer, epoch)
    assert (await peer.end())[0] == 3008
    await until(lambda: not node.hub.feeder._lines)
