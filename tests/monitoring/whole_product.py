"""All that the product asks of Redis, once: for whoever looks at what its user of Redis must be allowed."""

import asyncio
from typing import Any

import pytest

from flotilla.monitoring import health
from flotilla.presence.inspection import some_members
from flotilla.ratelimit import inspection
from flotilla.ratelimit.algorithms.rates import parse_rate
from flotilla.ratelimit.decisions import Claim
from flotilla.ratelimit.policies import Policy
from flotilla.ratelimit.service import get_limits, reset_limits
from flotilla.realtime.access.channels import options_for
from flotilla.realtime.blocks import blocklist
from flotilla.realtime.conf import get_config
from flotilla.realtime.engine.inspection import stream_states
from flotilla.realtime.node import node as node_module
from flotilla.realtime.node.node import Node
from flotilla.realtime.node.operations.count import Count
from flotilla.store import get_store
from tests.realtime.client.peers import Peer
from tests.store.redis_process import until


async def run_whole_product(configured: Any, limits_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Subscribing, history, presence, limits, control, blocks, what the admin's pages read, readiness, and the end."""
    configured.RATE_LIMIT_REDIS_URL = limits_url
    configured.RATE_LIMITS = {"each": {"guards": "ws.publish", "key": "connection", "rate": "100/m"}}
    reset_limits()
    health._running.clear()
    node = Node(get_config(), get_store(), "unit-0")
    await node.start()
    monkeypatch.setattr(node_module, "_node", (node_module.os.getpid(), node))
    await until(lambda: all(node.checks().values()))
    await until(health.ready, what="to be ready")
    assert (await health.ready())["ready"]

    first, second = Peer(node), Peer(node)
    for peer in (first, second):
        await peer.connect()
        for channel in ("open:a", "people:a", "plain:a"):
            await peer.subscribe(channel)
    for channel in ("open:a", "plain:a"):
        assert "publish" in await first.ask(publish={"channel": channel, "data": 1})
        await until(lambda channel=channel: second.data(channel) == [1])
    assert (await first.ask(history={"channel": "open:a", "limit": 10}))["history"]["publications"]
    assert (await first.ask(history={"channel": "open:a", "limit": 1, "reverse": True}))["history"]
    assert len((await first.ask(presence={"channel": "people:a"}))["presence"]["presence"]) == 2
    assert (await first.ask(presence_stats={"channel": "people:a"}))["presence_stats"]["num_clients"] == 2

    assert len((await asyncio.to_thread(some_members, node.store, "c:people:a", "", 10))[0]) == 2

    living = [about["incarnation"] for about in await node.presence._leases.alive()]
    assert (await node.control.ask(Count(), living)).keys() == set(living)
    assert (await asyncio.to_thread(node.control.ask_sync, Count(), living)).keys() == set(living)
    await asyncio.to_thread(blocklist.add, node.store, "u:bad", 60, {})
    assert len((await asyncio.to_thread(blocklist.some, node.store, 0, 10))[1]) == 1
    assert await asyncio.to_thread(blocklist.find, node.store, ["u:bad"])
    await blocklist.put_back(node.store, 9, {"u:lost": 60})
    assert await asyncio.to_thread(blocklist.remove, node.store, "u:bad")
    (facts,) = await asyncio.to_thread(stream_states, node.store, [("open:a", options_for("open:a", node.config))])
    assert facts.stored == 1
    await node.broker.forget("open:a")

    policy = Policy("p", ("http",), "ip", parse_rate("5/m burst=5"))
    claims = [Claim(policy, "ip:192.0.2.1", policy.rate, "{rl}p"), Claim(policy, "ip:1", parse_rate("5/m"), "{rl}q")]
    limits = get_limits()
    assert (await limits.limiter.decide(claims, 5)).verdicts[0].outcome == "allowed"
    limits.limiter.counts.denied("p", "ip:192.0.2.1")
    await asyncio.to_thread(limits.background.sync)
    assert await asyncio.to_thread(inspection.hottest)
    await asyncio.to_thread(inspection.standing, policy, "ip:192.0.2.1", policy.rate)
    await asyncio.to_thread(inspection.reset, policy, "ip:192.0.2.1")

    other = Node(get_config(), get_store(), "unit-1")
    await other.presence.start()
    await other.presence.add("u:gone", "client", "gone", b"")
    await other.presence._leases.expire(other.presence.incarnation)
    await until(lambda: _forgotten(node, other), what="the dead one is reaped")
    await other.presence.stop()
    await other.hub.close()

    assert "unsubscribe" in await first.ask(unsubscribe={"channel": "people:a"})
    await until(lambda: "open:b" not in node.hub.channels)
    await node.drain(5)
    await limits.limiter.close()
    reset_limits()


async def _forgotten(node: Node, other: Node) -> bool:
    return other.presence.incarnation not in await node.presence._leases.known()
