"""The history command, on a real hub and Redis."""

from typing import Any

import pytest

from flotilla.realtime.node.node import Node
from tests.realtime.client.peers import error, fill, joined

pytestmark = pytest.mark.asyncio


class TestHistory:
    async def test_pages_as_asked(self, node: Node) -> None:
        """Limit, since, reverse; the position always; limit 0 the position alone."""
        peer = await joined(node)
        top = await fill(node, 12)

        async def offsets(**request: Any) -> list[int]:
            found = (await peer.ask(history={"channel": "open:a", **request}))["history"]
            assert (found["epoch"], found["offset"]) == (top.epoch, 12)
            return [one["offset"] for one in found["publications"]]

        assert await offsets() == []
        assert await offsets(limit=-1) == list(range(3, 13))
        assert await offsets(limit=2) == [3, 4]
        assert await offsets(limit=2, reverse=True) == [12, 11]
        assert await offsets(limit=3, since={"offset": 5, "epoch": top.epoch}) == [6, 7, 8]
        assert await offsets(limit=3, since={"offset": 5, "epoch": ""}, reverse=True) == [4, 3]

    @pytest.mark.parametrize(
        ("request_", "code"),
        [
            ({"channel": "open:a", "since": {"offset": 1, "epoch": "other"}}, 112),
            ({"channel": "open:a", "since": {"offset": 0, "epoch": ""}, "reverse": True}, 107),
            ({"channel": "plain:a"}, 108),
            ({"channel": "nowhere:a"}, 102),
        ],
    )
    async def test_what_cannot_be_is_an_error(self, node: Node, request_: dict[str, Any], code: int) -> None:
        """Its code."""
        peer = await joined(node)
        assert await peer.ask(history=request_) == error(code)

    async def test_a_page_holds_what_fits_and_one_at_least(self, node: Node) -> None:
        """The client pages on past any size, both ways."""
        peer = await joined(node)
        await fill(node, 3, size=40_000)
        await fill(node, 1, size=150_000)
        await fill(node, 1)

        async def page(**since: Any) -> list[int]:
            found = await peer.ask(history={"channel": "open:a", "limit": -1, **since})
            return [one["offset"] for one in found["history"]["publications"]]

        assert await page() == [1, 2]
        assert await page(since={"offset": 2}) == [3]
        assert await page(since={"offset": 3}) == [4]
        assert await page(since={"offset": 4}) == [5]
        assert await page(since={"offset": 5}, reverse=True) == [4]

    async def test_huge_limits_are_capped(self, node: Node) -> None:
        """No number makes an error."""
        peer = await joined(node)
        await fill(node, 2)
        for limit in (2**70, -(2**70)):
            found = await peer.ask(history={"channel": "open:a", "limit": limit})
            assert len(found["history"]["publications"]) == 2
