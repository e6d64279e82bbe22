"""Limits of a connection's commands, in process on a real Redis: who is denied what, and how it is told."""

import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from flotilla.ratelimit import service
from flotilla.ratelimit.limiter import Patience
from flotilla.ratelimit.service import get_limits, reset_limits
from flotilla.realtime import rpc
from flotilla.realtime.client import limits
from flotilla.realtime.client.commands.handlers import HANDLERS
from flotilla.realtime.client.commands.publish import publish as publish_handler
from flotilla.realtime.conf import get_config
from flotilla.realtime.node.node import Node
from flotilla.store import get_store
from tests.realtime.client.nodes import REALTIME
from tests.realtime.client.peers import Peer

MakeNode = Callable[..., Any]
DENIED = re.compile(r"too many requests: retry in \d+\.\d\d s")


@pytest.fixture
def limited(configured: Any, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes nodes with limits."""
    configured.RATE_LIMIT_REDIS_URL = redis_url
    monkeypatch.setattr(service, "TIMEOUT", 10.0)
    monkeypatch.setattr(service, "PATIENCE", Patience(10.0, 10.0, 10.0))
    configured.RATE_LIMIT_BACKGROUND_SYNC = False

    @asynccontextmanager
    async def make(abuse: Any = None, **policies: Any) -> AsyncIterator[Node]:
        configured.REALTIME = {**REALTIME, "abuse": abuse}
        configured.RATE_LIMITS = {name.replace("_", "-"): options for name, options in policies.items()}
        node = Node(get_config(), get_store(), "unit-0")
        await node.start()
        try:
            yield node
        finally:
            await node.close()
            reset_limits()

    return make


async def publish(peer: Peer, channel: str = "open:room") -> dict[str, Any]:
    return await peer.ask(publish={"channel": channel, "data": {"n": 1}})


async def test_an_unguarded_command_is_handled_by_its_handler_itself(limited: MakeNode) -> None:
    async with limited(subs={"guards": "ws.subscribe", "key": "ip", "rate": "10/m"}) as node:
        assert node.handlers["publish"] is publish_handler
        assert node.handlers["subscribe"] is not HANDLERS["subscribe"]


async def test_a_denied_command_gets_111_temporary_with_the_time_to_wait(limited: MakeNode) -> None:
    async with limited(pubs={"guards": "ws.publish", "key": "ip", "rate": "2/m"}) as node:
        peer, other = Peer(node), Peer(node)
        for one in (peer, other):
            await one.connect()
        assert await publish(peer) == {"publish": {}}
        assert await publish(other) == {"publish": {}}
        error = (await publish(peer))["error"]
        assert (error["code"], error["temporary"]) == (111, True)
        assert DENIED.fullmatch(error["message"])
        assert (await peer.ask(history={"channel": "open:room", "limit": 10}))["history"]["offset"] == 2
        assert peer.socket.closed is None


async def test_a_connection_s_own_limit_is_nobody_else_s(limited: MakeNode) -> None:
    async with limited(own={"guards": "ws.publish", "key": "connection", "rate": "1/m", "burst": 1}) as node:
        peer, other = Peer(node), Peer(node)
        for one in (peer, other):
            await one.connect()
        assert "error" not in await publish(peer)
        assert (await publish(peer))["error"]["code"] == 111
        assert "error" not in await publish(other)


async def test_users_are_counted_over_their_connections_and_visitors_are_not(limited: MakeNode) -> None:
    async with limited(by_user={"guards": "ws.publish", "key": "user", "rate": "2/m"}) as node:
        ann, ann_too, visitor = Peer(node), Peer(node), Peer(node)
        for one in (ann, ann_too, visitor):
            await one.connect()
        from flotilla.realtime.access.identity import Identity

        for one in (ann, ann_too):
            one.client.identity = Identity(user="ann")
        results = [await publish(one) for one in (ann, ann_too, ann)]
        assert ["error" in result for result in results] == [False, False, True]
        for _ in range(4):
            assert "error" not in await publish(visitor)


async def test_a_namespace_s_policy_guards_its_channels_alone(limited: MakeNode) -> None:
    everything = {"guards": "namespace:open", "key": "connection", "rate": "2/m"}
    async with limited(everything=everything) as node:
        peer = Peer(node)
        await peer.connect()
        await peer.subscribe("open:room")
        assert "error" not in await publish(peer)
        assert (await publish(peer))["error"]["code"] == 111
        assert "error" not in await publish(peer, "plain:room")
        assert await peer.ask(unsubscribe={"channel": "open:room"}) == {"unsubscribe": {}}, "who leaves was held up"


async def test_channels_are_counted_apart(limited: MakeNode) -> None:
    async with limited(room={"guards": "ws.publish:open", "key": "channel", "rate": "1/m"}) as node:
        peer = Peer(node)
        await peer.connect()
        results = [await publish(peer, channel) for channel in ("open:a", "open:b", "open:a", "plain:c", "plain:c")]
        assert ["error" in result for result in results] == [False, False, True, False, False]


async def test_a_denied_subscribe_leaves_nothing_behind(limited: MakeNode) -> None:
    async with limited(subs={"guards": "ws.subscribe", "key": "connection", "rate": "1/m"}) as node:
        peer = Peer(node)
        await peer.connect()
        await peer.subscribe("open:a")
        assert (await peer.ask(subscribe={"channel": "open:b"}))["error"]["code"] == 111
        assert set(peer.client.subscriptions) == {"open:a"}


async def test_every_command_but_connect_and_unsubscribe_counts_as_a_command(limited: MakeNode) -> None:
    async with limited(all={"guards": "ws.command", "key": "connection", "rate": "2/m"}) as node:
        peer = Peer(node)
        await peer.connect()
        await peer.subscribe("open:a")
        await peer.ask(presence={"channel": "open:a"})
        assert (await peer.ask(history={"channel": "open:a"}))["error"]["code"] == 111


NEW = {"guards": "ws.new_channel", "key": "connection", "rate": "3/h"}


async def test_new_names_are_limited_whichever_command_brings_them(limited: MakeNode) -> None:
    async with limited(names=NEW) as node:
        peer = Peer(node)
        await peer.connect()
        commands = [
            {"subscribe": {"channel": "open:a"}},
            {"publish": {"channel": "open:b", "data": 1}},
            {"history": {"channel": "open:c"}},
            {"presence": {"channel": "open:d"}},
            {"presence_stats": {"channel": "open:e"}},
            {"publish": {"channel": "open:f", "data": 1}},
            {"subscribe": {"channel": "open:g"}},
        ]
        answers = [await peer.ask(**command) for command in commands]
        assert [answer.get("error", {}).get("code") for answer in answers] == [None] * 3 + [111] * 4
        assert DENIED.fullmatch(answers[3]["error"]["message"])
        assert set(peer.client.subscriptions) == {"open:a"}


async def test_a_channel_in_use_is_not_new_however_often_it_is_named(limited: MakeNode) -> None:
    async with limited(names=NEW | {"rate": "2/h"}) as node:
        peer = Peer(node)
        await peer.connect()
        await peer.subscribe("open:a")
        for _ in range(10):
            assert "error" not in await publish(peer, "open:a")
            assert "error" not in await peer.ask(history={"channel": "open:b"})
            assert "error" not in await peer.ask(presence={"channel": "open:a"})
        assert await peer.ask(unsubscribe={"channel": "open:a"}) == {"unsubscribe": {}}
        await peer.subscribe("open:a")
        assert (await peer.ask(history={"channel": "open:c"}))["error"]["code"] == 111


async def test_a_denied_name_stays_new(limited: MakeNode) -> None:
    async with limited(names=NEW | {"rate": "1/h"}) as node:
        peer = Peer(node)
        await peer.connect()
        assert "error" not in await publish(peer, "open:a")
        for _ in range(3):
            assert (await publish(peer, "open:b"))["error"]["code"] == 111


async def test_new_channels_are_counted_for_a_namespace_an_address_or_a_user(limited: MakeNode) -> None:
    by_address = {"guards": "ws.new_channel:open", "key": "ip", "rate": "3/h"}
    async with limited(names=by_address) as node:
        peer, other = Peer(node), Peer(node)
        for one in (peer, other):
            await one.connect()
        results = [await publish(one, f"open:{name}") for one, name in zip((peer, other) * 2, "aabc", strict=True)]
        assert ["error" in result for result in results] == [False, False, False, True]
        assert "error" not in await publish(peer, "plain:x"), "another namespace was held up"


async def test_a_policy_that_guards_a_command_and_new_channels_is_asked_once(limited: MakeNode) -> None:
    both = {"guards": ["ws.publish", "ws.new_channel"], "key": "connection", "rate": "3/h"}
    async with limited(both=both) as node:
        peer = Peer(node)
        await peer.connect()
        results = [await publish(peer, f"open:{name}") for name in "abcd"]
        assert ["error" in result for result in results] == [False, False, False, True]


async def test_names_are_remembered_up_to_a_bound_and_count_again_beyond_it(
    limited: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_NAMES", 2)
    async with limited(names=NEW | {"rate": "4/h"}) as node:
        peer = Peer(node)
        await peer.connect()
        results = [await peer.ask(history={"channel": f"open:{name}"}) for name in "abbacabb"]
        assert ["error" in result for result in results] == [False] * 6 + [False, False]
        assert (await peer.ask(history={"channel": "open:c"}))["error"]["code"] == 111


async def test_a_denied_send_is_dropped_without_an_answer(limited: MakeNode) -> None:
    heard: list[Any] = []

    async def note(user: Any, data: Any) -> None:
        heard.append(data)

    rpc.message_handlers.append(note)
    try:
        async with limited(sends={"guards": "ws.send", "key": "connection", "rate": "1/m"}) as node:
            peer = Peer(node)
            await peer.connect()
            before = len(peer.socket.lines)
            for number in range(3):
                peer.client.receive(json.dumps({"send": {"data": number}}))
            await publish(peer)  # commands are handled in order: the three are done
            assert heard == [0]
            assert len(peer.socket.lines) == before + 1
    finally:
        rpc.message_handlers.remove(note)


async def test_persistent_abuse_is_disconnected_with_3013(limited: MakeNode) -> None:
    policy = {"guards": "ws.publish", "key": "connection", "rate": "1/m"}
    async with limited(abuse={"denials": 5, "window": 60}, pubs=policy) as node:
        peer = Peer(node)
        await peer.connect()
        await publish(peer)
        for _ in range(4):
            assert (await publish(peer))["error"]["code"] == 111
        peer.say(publish={"channel": "open:room", "data": 1})
        assert await peer.end() == (3013, "too many requests")


async def test_abuse_can_be_switched_off(limited: MakeNode) -> None:
    async with limited(pubs={"guards": "ws.publish", "key": "connection", "rate": "1/m"}) as node:
        peer = Peer(node)
        await peer.connect()
        for _ in range(150):
            await publish(peer)
        assert peer.socket.closed is None


async def test_a_fault_of_a_key_function_lets_pass_and_is_logged(
    limited: MakeNode, caplog: pytest.LogCaptureFixture
) -> None:
    key = "tests.ratelimit.urls.broken_key"
    async with limited(bad={"guards": "ws.publish", "key": key, "rate": "1/m"}) as node:
        peer = Peer(node)
        await peer.connect()
        for _ in range(2):
            assert "error" not in await publish(peer)
    assert "passed without a limit" in caplog.text


async def test_a_shadow_lets_everything_pass_and_counts(limited: MakeNode) -> None:
    async with limited(pubs={"guards": "ws.publish", "key": "ip", "rate": "1/m", "shadow": True}) as node:
        peer = Peer(node)
        await peer.connect()
        for _ in range(3):
            assert "error" not in await publish(peer)
        assert get_limits().limiter.counts.outcomes["pubs", "shadow"] == 2
