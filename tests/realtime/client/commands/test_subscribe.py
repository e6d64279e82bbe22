"""The commands subscribe and unsubscribe, on a real hub and Redis: rights, recovery, bounds."""

import asyncio
from typing import Any

import pytest

from flotilla.realtime.access.tokens import make_subscription_token
from flotilla.realtime.engine.publication import StreamPosition
from flotilla.realtime.node.node import Node
from flotilla.store import placement_of
from tests.realtime.client.peers import error, fill, joined
from tests.store.redis_process import RedisProcess, until

pytestmark = pytest.mark.asyncio


class TestSubscribing:
    async def test_the_reply_comes_before_anything_of_the_channel(self, node: Node) -> None:
        """While others publish as fast as they can: no gap, no repeat, from the offset in the reply on."""
        stop = asyncio.Event()

        async def publish() -> int:
            while not stop.is_set():
                last = (await fill(node, 1)).offset
            return last

        publishing = asyncio.create_task(publish())
        peers = []
        for _ in range(10):
            peer = await joined(node)
            result = await peer.subscribe("open:a")
            peers.append((peer, result.get("offset", 0)))
            await until(lambda p=peer: len(p.pushes("pub", "open:a")) > 3)  # type: ignore[misc]
        stop.set()
        last = await publishing
        for peer, start in peers:
            expected = list(range(start + 1, last + 1))
            await until(lambda p=peer, e=expected: [x["offset"] for x in p.pushes("pub", "open:a")] == e)  # type: ignore[misc]
            kinds = [next(iter(line)) for line in peer.socket.lines]
            assert kinds[:2] == ["id", "id"]
            assert set(kinds[2:]) == {"push"}

    async def test_a_channel_without_history_has_an_empty_result(self, node: Node) -> None:
        """Neither epoch nor offset."""
        peer = await joined(node)
        assert await peer.subscribe("plain:a") == {}
        await peer.ask(publish={"channel": "plain:a", "data": {"n": 1}})
        await until(lambda: peer.data("plain:a") == [{"n": 1}])
        assert "offset" not in peer.pushes("pub", "plain:a")[0]

    async def test_a_position_is_granted_on_wish(self, node: Node) -> None:
        """Nothing, positioned, recoverable: as the client asks where nothing is forced."""
        peer = await joined(node)
        assert await peer.subscribe("wish:a") == {}
        positioned = await peer.subscribe("wish:b", positioned=True)
        assert positioned == {"positioned": True, "epoch": positioned["epoch"]}
        recoverable = await peer.subscribe("wish:c", recoverable=True)
        assert recoverable == {"positioned": True, "recoverable": True, "epoch": recoverable["epoch"]}

    @pytest.mark.parametrize(
        ("request_", "code"),
        [
            ({"channel": "nowhere:a"}, 102),
            ({"channel": "closed:a"}, 103),
            ({"channel": "$open:a"}, 103),
            ({"channel": "open:\u00e9"}, 107),
            ({"channel": "open:" + "x" * 260}, 107),
            ({"channel": "open:a", "type": 1}, 108),
            ({"channel": "open:a", "tf": {"key": "x"}}, 107),
        ],
    )
    async def test_what_cannot_be_is_an_error(self, node: Node, request_: dict[str, Any], code: int) -> None:
        """Its code, and nothing subscribed."""
        peer = await joined(node)
        assert await peer.ask(subscribe=request_) == error(code)
        assert peer.client.subscriptions == {}

    async def test_subscribing_twice_is_an_error(self, node: Node) -> None:
        """105; the first subscription goes on."""
        peer = await joined(node)
        await peer.subscribe("open:a")
        assert await peer.ask(subscribe={"channel": "open:a"}) == error(105)
        await fill(node, 1)
        await until(lambda: peer.data("open:a") == [1])

    async def test_channels_are_bounded(self, node: Node) -> None:
        """106 at the sixth; leaving one makes room."""
        peer = await joined(node)
        for number in range(5):
            await peer.subscribe(f"plain:{number}")
        assert await peer.ask(subscribe={"channel": "plain:5"}) == error(106)
        await peer.ask(unsubscribe={"channel": "plain:0"})
        await peer.subscribe("plain:5")

    async def test_a_command_without_a_channel_ends_the_connection(self, node: Node) -> None:
        """3501."""
        for method in ("subscribe", "unsubscribe", "publish", "presence", "presence_stats", "history", "sub_refresh"):
            peer = await joined(node)
            peer.say(**{method: {}})
            assert (await peer.end())[0] == 3501

    async def test_a_token_opens_a_private_channel(self, node: Node) -> None:
        """With its expiry in the reply; another channel's token ends the connection with 3500."""
        peer = await joined(node)
        token = make_subscription_token("", "$open:a", ttl=60)
        result = await peer.subscribe("$open:a", token=token)
        assert result["expires"] is True
        assert 55 <= result["ttl"] <= 60
        refreshed = await peer.ask(
            sub_refresh={"channel": "$open:a", "token": make_subscription_token("", "$open:a", ttl=600)}
        )
        assert 590 < refreshed["sub_refresh"]["ttl"] <= 600
        late = make_subscription_token("", "$open:b", ttl=-5)
        assert await peer.ask(subscribe={"channel": "$open:b", "token": late}) == error(109)
        peer.say(subscribe={"channel": "$open:b", "token": token})
        assert (await peer.end())[0] == 3500

    async def test_a_stream_that_changes_under_a_subscribe_is_a_temporary_error(
        self, node: Node, redis_process: RedisProcess, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Positioned or not: the reply would name an offset that means nothing."""
        for channel in ("open:a", "wish:a"):
            keeper, peer = await joined(node), await joined(node)
            await keeper.subscribe(channel, positioned=True)
            await fill(node, 3, channel)
            local = node.hub.channels[channel]
            await until(lambda c=local: c.position.offset == 3)  # type: ignore[misc]
            inner = node.hub.top

            def top(of: Any, channel: str = channel, inner: Any = inner) -> StreamPosition:
                found: StreamPosition = inner(of)
                redis_process.ask("DEL", placement_of(channel).key("meta"))
                node.hub.resync()
                return found

            async def enter(*_: Any, channel: Any = local) -> None:
                await until(lambda: channel.position.offset == 0)

            with monkeypatch.context() as patch:
                patch.setattr(node.hub, "top", top)
                patch.setattr("flotilla.realtime.client.subscriptions._enter", enter)
                answer = await peer.ask(subscribe={"channel": channel})
            assert answer == error(100)
            assert answer["error"]["temporary"]
            await peer.subscribe(channel)
            await fill(node, 1, channel)
            await until(lambda p=peer, c=channel: p.data(c) == [1])  # type: ignore[misc]


class TestRecovering:
    async def test_what_was_missed_is_in_the_reply(self, node: Node) -> None:
        """With the request's offset; live publications go on from the top."""
        peer = await joined(node)
        position = await fill(node, 6)
        result = await peer.subscribe("open:a", recover=True, offset=2, epoch=position.epoch)
        assert [one["offset"] for one in result["publications"]] == [3, 4, 5, 6]
        assert [one["data"] for one in result["publications"]] == [3, 4, 5, 6]
        assert (result["recovered"], result["was_recovering"], result["offset"]) == (True, True, 2)
        await fill(node, 2)
        await until(lambda: [one["offset"] for one in peer.pushes("pub", "open:a")] == [7, 8])

    async def test_nothing_missed_is_recovered(self, node: Node) -> None:
        """No publications, recovered."""
        peer = await joined(node)
        position = await fill(node, 2)
        result = await peer.subscribe("open:a", recover=True, offset=2, epoch=position.epoch)
        assert "publications" not in result
        assert (result["recovered"], result["offset"]) == (True, 2)

    async def test_everything_from_the_start(self, node: Node) -> None:
        """Offset 0 with no epoch."""
        peer = await joined(node)
        await fill(node, 3)
        result = await peer.subscribe("open:a", recover=True)
        assert [one["data"] for one in result["publications"]] == [1, 2, 3]
        assert "offset" not in result

    @pytest.mark.parametrize(
        ("published", "offset", "epoch"), [(11, 0, ""), (8, 2, None), (3, 9, None), (3, 1, "other"), (12, 1, None)]
    )
    @pytest.mark.parametrize("flag", [0, 2])
    async def test_what_is_not_all_there_is_not_recovered(
        self, node: Node, published: int, offset: int, epoch: str | None, flag: int
    ) -> None:
        """Evicted, too many, ahead of the stream, another epoch: the top and nothing else, or error 112 with flag 2."""
        peer = await joined(node)
        top = await fill(node, published)
        request = {"recover": True, "offset": offset, "epoch": top.epoch if epoch is None else epoch, "flag": flag}
        answer = await peer.ask(subscribe={"channel": "open:a", **request})
        if flag:
            assert answer == error(112)
            assert peer.client.subscriptions == {}
            return
        result = answer["subscribe"]
        assert "recovered" not in result and "publications" not in result
        assert (result["was_recovering"], result["offset"], result["epoch"]) == (True, top.offset, top.epoch)

    async def test_too_many_bytes_are_not_recovered(self, node: Node) -> None:
        """Else a slow client would be dropped for what it asked, for ever."""
        peer = await joined(node)
        await fill(node, 3, size=40_000)
        result = await peer.subscribe("open:a", recover=True)
        assert (result.get("recovered"), result["offset"]) == (None, 3)

    async def test_a_lie_about_the_offset_harms_nobody(self, node: Node) -> None:
        """Others keep their position."""
        honest, liar = await joined(node), await joined(node)
        epoch = (await honest.subscribe("open:a"))["epoch"]
        assert not (await liar.subscribe("open:a", recover=True, offset=10**12, epoch=epoch)).get("recovered")
        await fill(node, 1)
        await until(lambda: honest.data("open:a") == [1])
        assert not honest.pushes("unsubscribe", "open:a")


class TestLeaving:
    async def test_after_the_reply_nothing_comes(self, node: Node) -> None:
        """And the channel can be entered again."""
        peer = await joined(node)
        await peer.subscribe("people:a")
        assert await peer.ask(unsubscribe={"channel": "people:a"}) == {"unsubscribe": {}}
        await peer.ask(publish={"channel": "people:a", "data": 1})
        await peer.subscribe("people:a")
        await peer.ask(publish={"channel": "people:a", "data": 2})
        await until(lambda: peer.data("people:a") == [2])

    async def test_a_channel_one_is_not_in_can_be_left(self, node: Node) -> None:
        """No error."""
        peer = await joined(node)
        assert await peer.ask(unsubscribe={"channel": "open:never"}) == {"unsubscribe": {}}
