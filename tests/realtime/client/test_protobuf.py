"""A client that speaks Protobuf beside one that speaks JSON, in one process."""

from typing import Any

import msgspec
import pytest

from flotilla.realtime.node.node import Node
from flotilla.realtime.protocol import replies
from flotilla.realtime.protocol.frames import Frame
from flotilla.realtime.protocol.protobuf.encoding import ProtobufEncoding
from tests.realtime.client.nodes import hurry
from tests.realtime.client.peers import Peer, ProtobufPeer, error
from tests.store.redis_process import until

pytestmark = pytest.mark.asyncio


async def both(node: Node, channel: str) -> tuple[Peer, Peer]:
    peers = Peer(node), ProtobufPeer(node)
    for peer in peers:
        await peer.connect()
        await peer.subscribe(channel)
    return peers


async def test_each_is_told_in_its_own_encoding(node: Node) -> None:
    text, binary = await both(node, "open:a")
    await text.ask(publish={"channel": "open:a", "data": {"n": 1}})
    await binary.ask(publish={"channel": "open:a", "data": {"n": 2}})
    for peer in (text, binary):
        await until(lambda peer=peer: len(peer.data("open:a")) == 2)  # type: ignore[misc]
        assert peer.data("open:a") == [{"n": 1}, {"n": 2}]
    assert await text.ask(history={"channel": "open:a", "limit": 5}) == await binary.ask(
        history={"channel": "open:a", "limit": 5}
    )


async def test_a_publication_is_written_once_for_all_who_speak_alike(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    frames: list[Frame] = []
    publication = ProtobufEncoding.publication

    def counted(channel: bytes, body: bytes, offset: int) -> bytes:
        written.append(offset)
        return publication(channel, body, offset)

    monkeypatch.setattr(ProtobufEncoding, "publication", staticmethod(counted))
    peers = [ProtobufPeer(node) for _ in range(3)]
    for peer in peers:
        await peer.connect()
        await peer.subscribe("open:a")
        send = peer.socket.send
        monkeypatch.setattr(peer.socket, "send", lambda frame, send=send: (frames.append(frame), send(frame)))
    await peers[0].ask(publish={"channel": "open:a", "data": 1})
    await until(lambda: all(peer.data("open:a") for peer in peers))
    assert written == [1]
    pushed = [frame for frame in frames if b"open:a" in frame.payload]
    assert len(pushed) == 3
    assert all(frame is pushed[0] for frame in pushed)


async def test_what_is_no_json_is_refused_alone(node: Node) -> None:
    _, binary = await both(node, "open:a")
    for data in (b"{", b"\xff", b'"\xff"'):
        assert await binary.ask(publish={"channel": "open:a", "data": data}) == error(107)
    assert "publish" in await binary.ask(publish={"channel": "open:a", "data": 1})


async def test_bytes_are_kept_from_json_clients(node: Node) -> None:
    text, binary = Peer(node), ProtobufPeer(node)
    for peer in (text, binary):
        await peer.connect()
    assert await text.ask(subscribe={"channel": "raw:a"}) == error(108)
    assert await text.ask(publish={"channel": "raw:a", "data": 1}) == error(108)
    assert await text.ask(history={"channel": "raw:a"}) == error(108)
    await binary.subscribe("raw:a")
    assert "publish" in await binary.ask(publish={"channel": "raw:a", "data": b"\xff\n\x00"})
    await until(lambda: binary.data("raw:a"))
    assert binary.data("raw:a") == [b"\xff\n\x00"]
    assert node.config.namespaces["raw"].publication_data_format == "binary"


async def test_a_hook_is_shown_what_is_published(node: Node) -> None:
    """Bytes where a channel takes them, else what the JSON says; what is none never reaches it."""
    shown: list[Any] = []

    async def may(user: Any, channel: str, info: Any) -> bool:
        shown.append(info)
        return True

    asked = {
        name: msgspec.structs.replace(options, publish_permission=may)
        for name, options in node.config.namespaces.items()
    }
    hurry(node, namespaces=asked)
    peer = ProtobufPeer(node)
    await peer.connect()
    assert "publish" in await peer.ask(publish={"channel": "raw:a", "data": b"\xff"})
    assert "publish" in await peer.ask(publish={"channel": "open:a", "data": {"a": 1}})
    assert await peer.ask(publish={"channel": "open:a", "data": b"\xff"}) == error(107)
    assert shown == [b"\xff", {"a": 1}]


async def test_publications_are_filtered_by_their_tags(node: Node) -> None:
    """A filter's nodes are messages."""
    peer, options = ProtobufPeer(node), node.config.namespaces["tagged"]
    await peer.connect()
    inner = {"op": "not", "nodes": [{"key": "kind", "cmp": "in", "vals": ["b", "c"]}]}
    await peer.subscribe("tagged:a", tf={"op": "and", "nodes": [{"key": "kind", "cmp": "ex"}, inner]})
    for kind in "abca":
        body = replies.publication_body(b"1", None, {"kind": kind})
        await node.broker.publish("tagged:a", body, options)
    await until(lambda: len(peer.pushes("pub", "tagged:a")) == 2)
    assert [pub["tags"] for pub in peer.pushes("pub", "tagged:a")] == [{"kind": "a"}, {"kind": "a"}]
    assert await peer.ask(subscribe={"channel": "tagged:b", "tf": {"op": "xor"}}) == error(107)


async def test_a_wrong_kind_of_message_ends_the_connection(node: Node) -> None:
    for peer, wrong in ((Peer(node), b"\x00"), (ProtobufPeer(node), "{}")):
        await peer.connect()
        peer.client.receive(wrong)
        assert (await peer.end())[0] == 3506


async def test_frames_count_by_what_is_in_them(node: Node) -> None:
    """As in JSON: a command more is a frame more, and what takes long to read counts by its bytes."""
    peer = ProtobufPeer(node)
    await peer.connect()
    assert peer.client.receive(b"\x00" * 5) == 4
    half: Any = b'"' + b"x" * 990 + b'\\ud83d"'
    assert peer.client.receive(peer._written({"id": 90, "rpc": {"method": "x", "data": half}})) == 9
