"""The commands presence and presence_stats, on a real hub and Redis."""

import pytest

from flotilla.realtime.client.commands import presence
from flotilla.realtime.node.node import Node
from tests.realtime.client.peers import error, joined
from tests.store.redis_process import until

pytestmark = pytest.mark.asyncio


class TestPresence:
    async def test_joins_and_leaves_are_seen_once(self, node: Node) -> None:
        """One's own join after the reply, others' as they come and go, by command or by loss."""
        first, second, third = await joined(node), await joined(node), await joined(node)
        await first.subscribe("people:a")
        await second.subscribe("people:a")
        await third.subscribe("people:a")
        await until(lambda: len(first.pushes("join", "people:a")) == 3)
        assert list(first.socket.lines[1]) == ["id", "subscribe"]
        clients = [one["info"]["client"] for one in first.pushes("join", "people:a")]
        assert clients == [peer.client.id for peer in (first, second, third)]
        members = (await first.ask(presence={"channel": "people:a"}))["presence"]["presence"]
        assert set(members) == set(clients)
        assert members[clients[0]] == {"user": "", "client": clients[0]}
        assert (await first.ask(presence_stats={"channel": "people:a"}))["presence_stats"]["num_clients"] == 3
        await second.ask(unsubscribe={"channel": "people:a"})
        third.client.closed(1006)
        await until(lambda: len(first.pushes("leave", "people:a")) == 2)
        left = {one["info"]["client"] for one in first.pushes("leave", "people:a")}
        assert left == {second.client.id, third.client.id}
        assert (await first.ask(presence_stats={"channel": "people:a"}))["presence_stats"]["num_clients"] == 1

    async def test_presence_that_is_off_is_not_available(self, node: Node) -> None:
        """108, for both commands; 103 for who may not see it."""
        peer = await joined(node)
        assert await peer.ask(presence={"channel": "plain:a"}) == error(108)
        assert await peer.ask(presence_stats={"channel": "plain:a"}) == error(108)

    async def test_an_answer_too_large_is_refused(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        """106 rather than more than a client may leave unread."""
        peer = await joined(node)

        async def members(_: str, most: int) -> dict[str, bytes]:
            return {str(number): b'{"client":"%d"}' % number + b" " * 1000 for number in range(101)}

        monkeypatch.setattr(node.presence, "members", members)
        assert await peer.ask(presence={"channel": "people:a"}) == error(106)

    async def test_a_room_too_large_is_refused_by_its_number(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nobody reads entries that cannot be told: Redis would do nothing else meanwhile."""
        first, second = await joined(node), await joined(node)
        await first.subscribe("people:a")
        await second.subscribe("people:a")
        assert len((await first.ask(presence={"channel": "people:a"}))["presence"]["presence"]) == 2
        asked = await _read_whole(node)
        monkeypatch.setattr(presence, "LEAST_INFO", node.config.recovery_max_bytes)
        assert await first.ask(presence={"channel": "people:a"}) == error(106)
        assert await _read_whole(node) == asked
        assert (await first.ask(presence_stats={"channel": "people:a"}))["presence_stats"]["num_clients"] == 2


async def _read_whole(node: Node) -> int:
    """How often Redis has read a whole hash for somebody."""
    found = (await node.store.first.execute("INFO", "commandstats")).decode()
    return next((int(line.split("calls=")[1].split(",")[0]) for line in found.splitlines() if "_hgetall:" in line), 0)
