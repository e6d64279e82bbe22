"""What Prometheus is told, read as it reads it: from a real node on a real Redis."""

import asyncio
from typing import Any

import pytest
from django.conf import settings
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from flotilla.monitoring import metrics
from flotilla.monitoring.metrics import NodeCollector
from flotilla.presence import Reaped
from flotilla.realtime.losses import losses
from flotilla.realtime.node.node import Node
from flotilla.realtime.protocol.codes import DisconnectCode
from flotilla.realtime.server.waiting_connections import new_waiting_connections
from flotilla.realtime.signals import on_disconnect
from flotilla.store import placement_of
from flotilla.store.errors import StoreSilent
from tests.realtime.client.peers import Peer
from tests.realtime.engine.processes import intercept
from tests.store.redis_process import RedisProcess, until

pytestmark = pytest.mark.asyncio


class NeverAsks:
    """A connection that sends no request."""

    def give_up(self) -> None: ...


async def test_connections_are_counted_as_they_come_and_go(node: Node, scrape: Any) -> None:
    """Now, opened, and closed by a code that is one of a fixed few."""
    first, second = Peer(node), Peer(node)
    await first.connect()
    await second.connect()
    assert scrape("flotilla_connections") == 2
    second.client.transport = "sse"
    assert scrape("flotilla_transport_connections", transport="websocket") == 1
    assert scrape("flotilla_transport_connections", transport="sse") == 1
    assert scrape("flotilla_transport_connections", transport="uni_sse") == 0
    first.client.disconnect(DisconnectCode.SLOW)
    second.client.closed(4321)
    assert scrape("flotilla_connections") == 0
    assert scrape("flotilla_connections_opened_total") == 2
    assert scrape("flotilla_connections_closed_total", code="3008") == 1
    assert scrape("flotilla_connections_closed_total", code="other") == 1
    assert scrape("flotilla_connections_closed_total", code="3001") == 0  # a rate needs a first value
    assert scrape("flotilla_slow_clients_dropped_total") == 1


async def test_admission_is_counted_with_its_peak_and_who_waits(node: Node, scrape: Any) -> None:
    """And what the instance says it can take."""
    for _ in range(node.config.max_connecting):
        await node.admission.connects(await node.admission.enter())
    waiting = asyncio.ensure_future(node.admission.enter())
    await until(lambda: scrape("flotilla_admission_waiting") == 1)
    assert scrape("flotilla_admission_peak") == node.config.max_connecting
    assert scrape("flotilla_admission_rate") == node.admission_rate
    await until(lambda: scrape("flotilla_admission_longest_wait_seconds") > 0)
    waiting.cancel()
    await until(lambda: scrape("flotilla_admission_waiting") == 0)
    assert scrape("flotilla_admission_longest_wait_seconds") == 0


async def test_who_says_nothing_is_counted(node: Node, scrape: Any) -> None:
    """Those who keep a place, those whose place was another's, and connections that have sent no request."""
    waiting = new_waiting_connections()
    waiting.add(NeverAsks(), "192.0.2.1")
    for _ in range(node.config.max_connecting):
        node.admission.ask("192.0.2.1")
    node.admission.ask("192.0.2.2")
    assert scrape("flotilla_admission_silent") == node.config.max_connecting + 1
    assert scrape("flotilla_admission_gave_way_total") == 1
    assert scrape("flotilla_admission_refused_total") == 0
    assert scrape("flotilla_http_waiting") == 1
    assert scrape("flotilla_http_waiting_closed_total") == 0


async def test_messages_are_counted_by_type(node: Node, scrape: Any) -> None:
    """In by method, out by what they are; errors by code."""
    peer = Peer(node)
    await peer.connect()
    await peer.subscribe("open:a")
    await peer.ask(publish={"channel": "open:a", "data": 1})
    await peer.ask(publish={"channel": "closed:a", "data": 1})
    peer.client.receive("{}")
    await until(lambda: peer.data("open:a") == [1])
    got = {
        kind: scrape("flotilla_messages_in_total", type=kind)
        for kind in ("connect", "subscribe", "publish", "pong", "rpc")
    }
    assert got == {"connect": 1, "subscribe": 1, "publish": 2, "pong": 1, "rpc": 0}
    assert scrape("flotilla_messages_out_total", type="reply") == 4
    assert scrape("flotilla_messages_out_total", type="publication") == 1
    assert scrape("flotilla_command_errors_total", code="103") == 1
    assert scrape("flotilla_command_errors_total", code="100") == 0


async def test_a_delivery_is_timed_once_per_process_from_its_place_in_redis(node: Node, scrape: Any) -> None:
    """Three subscribers, one observation; latency is what lag and fan-out are together."""
    peers = [Peer(node) for _ in range(3)]
    for peer in peers:
        await peer.connect()
        await peer.subscribe("open:a")
    await until(lambda: node.hub.stats.clocks.ours(0, 0) is not None)
    await peers[0].ask(publish={"channel": "open:a", "data": 1})
    await until(lambda: all(peer.data("open:a") for peer in peers))
    assert scrape("flotilla_publications_out_total", channel_namespace="open") == 3
    sums = {}
    for name in ("delivery", "hub_lag", "fan_out"):
        assert scrape(f"flotilla_{name}_seconds_count") == 1, name
        sums[name] = scrape(f"flotilla_{name}_seconds_sum")
    assert 0 <= sums["fan_out"] <= sums["delivery"] < 30
    assert scrape("flotilla_delivery_seconds_bucket", le="0.1") is not None


async def test_a_traced_delivery_is_the_example_of_its_bucket(node: Node, scrape: Any) -> None:
    """For who asks for OpenMetrics; in the older format nothing changes."""
    node.hub.stats.latency.observe(0.003)
    node.hub.stats.latency.observe(20.0)
    node.hub.stats.exemplify("ab" * 16, 0.003)
    node.hub.stats.exemplify("cd" * 16, 20.0)
    assert scrape("flotilla_delivery_seconds_count") == 2
    registry = CollectorRegistry()
    registry.register(NodeCollector())
    lines = openmetrics.generate_latest(registry).decode().splitlines()
    shown = [line for line in lines if " # {" in line]
    assert [line.split(" # ")[0].split(" ")[0] for line in shown] == [
        'flotilla_delivery_seconds_bucket{le="0.005"}',
        'flotilla_delivery_seconds_bucket{le="+Inf"}',
    ]
    assert [line.split(" # ")[1].split(" ")[:2] for line in shown] == [
        [f'{{trace_id="{"ab" * 16}"}}', "0.003"],
        [f'{{trace_id="{"cd" * 16}"}}', "20.0"],
    ]
    assert "trace_id" not in generate_latest(registry).decode()


async def test_recoveries_say_what_came_of_them(node: Node, scrape: Any) -> None:
    """Recovered, or why not."""
    peer = Peer(node)
    await peer.connect()
    epoch = (await peer.subscribe("open:a"))["epoch"]
    for number in range(12):
        await peer.ask(publish={"channel": "open:a", "data": number})
    for offset, of in ((11, epoch), (11, "another"), (0, epoch), (4, epoch)):
        other = Peer(node)
        await other.connect()
        await other.subscribe("open:a", recover=True, offset=offset, epoch=of)
    assert scrape("flotilla_recoveries_total", outcome="recovered", reason="") == 1
    assert scrape("flotilla_recoveries_total", outcome="insufficient", reason="epoch") == 1
    assert scrape("flotilla_recoveries_total", outcome="insufficient", reason="limit") == 2
    assert scrape("flotilla_recoveries_total", outcome="insufficient", reason="trimmed") == 0


async def test_gaps_are_counted_and_what_filled_them(node: Node, scrape: Any) -> None:
    """A publication that the layer lost comes from history."""
    peer = Peer(node)
    await peer.connect()
    await peer.subscribe("open:a")
    channel = node.hub.channels["open:a"]
    await peer.ask(publish={"channel": "open:a", "data": 1})
    await until(lambda: peer.data("open:a") == [1])
    as_before = intercept(node.hub, lambda message, encoded: False)
    await peer.ask(publish={"channel": "open:a", "data": 2})
    await until(lambda: channel.newest.offset == 2)
    as_before()
    await peer.ask(publish={"channel": "open:a", "data": 3})
    await until(lambda: peer.data("open:a") == [1, 2, 3])
    assert channel.position.offset == 3
    assert scrape("flotilla_refills_total") == 1
    assert scrape("flotilla_refilled_publications_total") == 2
    assert scrape("flotilla_positions_lost_total") == 0


async def test_channels_that_stay_in_a_passing_state_are_told_by_state(
    node: Node, scrape: Any, monkeypatch: pytest.MonkeyPatch, redis_process: RedisProcess
) -> None:
    """After a while; those that pass are none."""
    monkeypatch.setattr(metrics, "LONG", 0.3)
    peer = Peer(node)
    await peer.connect()
    await peer.subscribe("open:a")
    redis_process.ask("SET", placement_of("open:poisoned").key("meta"), "poison")
    peer.say(subscribe={"channel": "open:poisoned"})
    await until(lambda: scrape("flotilla_channels_not_live", state="confirming") == 1)
    assert scrape("flotilla_channels_not_live", state="refilling") == 0
    assert scrape("flotilla_channels_not_live", state="reconfirming") == 0
    redis_process.ask("DEL", placement_of("open:poisoned").key("meta"))
    await until(lambda: scrape("flotilla_channels_not_live", state="confirming") == 0)


async def test_tasks_that_were_begun_again_are_counted_by_name(node: Node, scrape: Any) -> None:
    """Every task is there from its start, at 0, so that a first failure shows."""
    before = scrape("flotilla_task_restarts_total", task="blocks")
    assert before is not None
    failures = [TypeError("?")]
    inner = node.blocks.check

    async def look() -> None:
        if failures:
            raise failures.pop()
        await inner()

    node.blocks.check = look  # type: ignore[method-assign]
    node.blocks.check_soon()
    await until(lambda: scrape("flotilla_task_restarts_total", task="blocks") == before + 1)
    for task in ("heartbeat", "vitals-redis", "presence-lease", "presence-upkeep", "hub-positions", "layer-receiver"):
        assert scrape("flotilla_task_restarts_total", task=task) is not None


async def test_lost_publications_are_counted_by_reason(scrape: Any) -> None:
    """In every process, whether or not it serves."""
    before = scrape("flotilla_publications_lost_total", reason="silent")
    losses.note("room", StoreSilent("2 s"))
    assert scrape("flotilla_publications_lost_total", reason="silent") == before + 1
    assert scrape("flotilla_publications_lost_total", reason="unreachable") is not None


async def test_presence_and_leases_are_counted_and_agree(node: Node, scrape: Any) -> None:
    """Entries by kind of scope; no drift between connections and their entries; reaped ones."""
    peer = Peer(node)
    await peer.connect()
    await peer.subscribe("people:a")
    assert scrape("flotilla_presence_members", scope="user") == 1
    assert scrape("flotilla_presence_members", scope="channel") == 1
    assert scrape("flotilla_presence_drift") == 0
    await until(lambda: scrape("flotilla_leases") == 1)
    assert scrape("flotilla_lease_held") == 1
    node._on_reaped(Reaped("other.1", "u:7", [("c1", "7", b"{}"), ("c2", "7", b"{}")], ["7"]))
    assert scrape("flotilla_presence_reaped_total", scope="user") == 2
    assert not on_disconnect.has_listeners()


async def test_redis_the_loop_and_the_build_are_told(node: Node, scrape: Any) -> None:
    """Counts by shard; a loop that is never late would not be measured at all."""
    await until(lambda: (scrape("flotilla_event_loop_lag_seconds_count") or 0) > 1)
    assert (scrape("flotilla_redis_commands_total", shard="0") or 0) > 0
    assert (scrape("flotilla_redis_round_trip_seconds_count", shard="0") or 0) > 0
    assert scrape("flotilla_redis_unavailable_total", shard="0") is not None
    text = generate_latest(_registered()).decode()
    assert f'name="{settings.INSTANCE_ID}"' in text
    assert 'app_ready_check{check="loop"}' in text


def _registered() -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(NodeCollector())
    return registry


async def test_calls_of_receivers_are_counted_and_those_that_wait(node: Node, scrape: Any) -> None:
    """By signal; the lag is of the oldest that waits."""
    go_on = asyncio.Event()

    async def hangs(**facts: Any) -> None:
        await go_on.wait()

    async def breaks(**facts: Any) -> None:
        raise KeyError("oops")

    on_disconnect.connect(hangs)
    on_disconnect.connect(breaks)
    try:
        for _ in range(10):
            peer = Peer(node)
            await peer.connect()
            peer.client.closed(1000)
        await until(lambda: scrape("flotilla_signal_calls_total", signal="on_disconnect") == 8)
        await until(lambda: scrape("flotilla_signals_waiting") == 2)
        assert scrape("flotilla_signals_lag_seconds") > 0
        go_on.set()
        await until(lambda: not node.presence.busy)
    finally:
        on_disconnect.disconnect(hangs)
        on_disconnect.disconnect(breaks)
    assert scrape("flotilla_signal_calls_total", signal="on_disconnect") == 10
    assert scrape("flotilla_signal_failures_total", signal="on_disconnect") == 10
    assert scrape("flotilla_signal_calls_total", signal="on_connect") == 0
    assert (scrape("flotilla_signals_waiting"), scrape("flotilla_signals_lag_seconds")) == (0, 0)
