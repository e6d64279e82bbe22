"""Commands that are sampled: what each waited for, what it was answered; and nothing where tracing is off."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from flotilla import tracing
from flotilla.ratelimit import service
from flotilla.ratelimit.limiter import Patience
from flotilla.ratelimit.service import reset_limits
from flotilla.realtime import rpc
from flotilla.realtime.client.commands.handlers import HANDLERS
from flotilla.realtime.conf import get_config
from flotilla.realtime.node.node import Node
from flotilla.store import get_store
from tests.realtime.client.nodes import ALLOWED, REALTIME
from tests.realtime.client.peers import Peer, joined
from tests.realtime.seen_spans import Seen, about, itself, parent_of
from tests.store.redis_process import until

ROOM = "asked:a"


async def everybody(user: Any, channel: str, info: Any) -> bool:
    return True


async def nobody(user: Any, channel: str, info: Any) -> bool:
    return False


@pytest.fixture
def traced(configured: Any, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Makes nodes that sample a share of everything."""
    configured.RATE_LIMIT_REDIS_URL = redis_url
    configured.RATE_LIMIT_BACKGROUND_SYNC = False
    monkeypatch.setattr(service, "PATIENCE", Patience(10.0, 10.0, 10.0))

    @asynccontextmanager
    async def make(seen: Seen, may: Any = everybody, ratio: float = 1, **limits: Any) -> AsyncIterator[Node]:
        asked = ALLOWED | {"publish_permission": may}
        configured.REALTIME = REALTIME | {
            "namespaces": {"asked": asked, "open": ALLOWED},
            "tracing": True,
            "tracing_ratio": ratio,
            "tracing_provider": seen,
        }
        configured.RATE_LIMITS = limits
        reset_limits()
        node = Node(get_config(), get_store(), "unit-0")
        await node.start()
        try:
            yield node
        finally:
            await node.close()
            reset_limits()

    return make


async def test_a_command_costs_nothing_where_tracing_is_off(node: Node) -> None:
    """Its handler is called by itself."""
    assert node.handlers == HANDLERS


async def test_a_command_has_what_it_waits_for_as_its_parts(traced: Any) -> None:
    """Limits, the permission hook, Redis: in that order, and its end is Redis's answer."""
    seen = Seen()
    async with traced(seen, published={"guards": "ws.publish", "key": "ip", "rate": "100/m"}) as node:
        peer = await joined(node)
        await peer.subscribe(ROOM)
        assert await peer.ask(publish={"channel": ROOM, "data": 1}) == {"publish": {}}
        command = await seen.one("command publish")
        await until(lambda: peer.data(ROOM) == [1])
        delivery = await seen.one("deliver")
    parts = [span for span in seen.spans if span.parent and parent_of(span) == itself(command)]
    parts.sort(key=lambda span: span.start_time or 0)
    assert [part.name for part in parts] == ["limits", "permission", "redis publish"]
    assert about(parts[0]) == {"allowed": True}
    assert about(parts[1])["hook"] == f"{__name__}.everybody"
    assert parent_of(delivery) == itself(parts[2])
    assert command.end_time is not None
    assert command.end_time >= (parts[2].end_time or 0)
    assert about(command)["namespace"] == "asked"
    assert about(command)["client"] == peer.client.id


async def test_a_publication_that_need_not_wait_ends_with_redis_answer(traced: Any) -> None:
    seen = Seen()
    async with traced(seen) as node:
        peer = await joined(node)
        assert await peer.ask(publish={"channel": "open:a", "data": 1}) == {"publish": {}}
        command, script = await seen.one("command publish"), await seen.one("redis publish")
    assert parent_of(script) == itself(command)
    assert command.end_time == script.end_time


async def test_a_refusal_is_its_answer(traced: Any) -> None:
    """With the code that the client was told."""
    seen = Seen()
    async with traced(seen, nobody) as node:
        peer = await joined(node)
        assert (await peer.ask(publish={"channel": ROOM, "data": 1}))["error"]["code"] == 103
        command = await seen.one("command publish")
        assert (about(command)["code"], command.status.description) == (103, "103: permission denied")
        await peer.ask(publish={"channel": "open:a"})
        await until(lambda: len(seen.named("command publish")) == 2)
        assert about(seen.named("command publish")[1])["code"] == 107


async def test_a_projects_own_spans_are_parts_of_a_call(traced: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen()

    async def lookup(user: Any, data: Any) -> str:
        assert tracing.current() is not None
        with seen.provider.get_tracer("project").start_as_current_span("lookup"):
            return "found"

    monkeypatch.setitem(rpc.methods, "lookup", lookup)
    async with traced(seen) as node:
        peer = await joined(node)
        assert (await peer.ask(rpc={"method": "lookup"}))["rpc"]["data"] == "found"
        command = await seen.one("command rpc")
    (own,) = seen.named("lookup")
    assert parent_of(own) == itself(command)


async def test_nothing_is_sampled_at_a_ratio_of_0(traced: Any) -> None:
    seen = Seen()
    async with traced(seen, ratio=0) as node:
        peer: Peer = await joined(node)
        await peer.subscribe(ROOM)
        await peer.ask(publish={"channel": ROOM, "data": 1})
        await until(lambda: peer.data(ROOM) == [1])
    assert not seen.spans
