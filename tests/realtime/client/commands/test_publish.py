"""The publish command, on a real hub and Redis."""

import pytest

from flotilla.realtime.node.node import Node
from tests.realtime.client.peers import error, fill, joined
from tests.store.redis_process import until

pytestmark = pytest.mark.asyncio


class TestPublishing:
    async def test_publications_carry_their_author(self, node: Node) -> None:
        """Info on a client's, its own delivered too; none on the server's."""
        peer = await joined(node)
        await peer.subscribe("open:a")
        assert await peer.ask(publish={"channel": "open:a", "data": {"x": [1, None]}}) == {"publish": {}}
        await fill(node, 1)
        await until(lambda: len(peer.pushes("pub", "open:a")) == 2)
        mine, theirs = peer.pushes("pub", "open:a")
        assert mine == {"data": {"x": [1, None]}, "info": {"user": "", "client": peer.client.id}, "offset": 1}
        assert theirs == {"data": 1, "offset": 2}
        assert node.hub.traffic.of("open:a").published == 1

    @pytest.mark.parametrize(("channel", "code"), [("closed:a", 103), ("nowhere:a", 102), ("closed", 103)])
    async def test_who_may_not_is_told(self, node: Node, channel: str, code: int) -> None:
        """And the connection goes on."""
        peer = await joined(node)
        assert await peer.ask(publish={"channel": channel, "data": 1}) == error(code)

    async def test_data_is_needed_and_may_be_null(self, node: Node) -> None:
        """107 without; null is data."""
        peer = await joined(node)
        await peer.subscribe("plain:a")
        assert await peer.ask(publish={"channel": "plain:a"}) == error(107)
        assert await peer.ask(publish={"channel": "plain:a", "data": None}) == {"publish": {}}
        await until(lambda: peer.data("plain:a") == [None])

    async def test_an_answered_publication_is_in_history(self, node: Node) -> None:
        """Success means it is stored."""
        peer = await joined(node)
        for number in range(1, 6):
            await peer.ask(publish={"channel": "open:a", "data": number})
            page = await node.broker.history("open:a", node.config.namespaces["open"])
            assert page.top.offset == number
