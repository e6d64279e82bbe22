"""Readiness: each check with its own deadline, shared by all who ask, and never in the loop's way."""

import asyncio
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from flotilla.monitoring import health
from flotilla.presence.keys import home_of
from flotilla.realtime.node import node as node_module
from flotilla.realtime.node.node import Node
from flotilla.store import get_store, placement_of
from flotilla.store.placement import PARTITIONS
from tests.realtime.client.peers import Peer
from tests.store.faults import FAULTS
from tests.store.redis_process import RedisProcess, until

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def redis_process(mortal_redis: RedisProcess) -> RedisProcess:
    """The node's Redis is this test's own."""
    return mortal_redis


@pytest.fixture(autouse=True)
def serving(node: Node, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The node is this process's."""
    monkeypatch.setattr(node_module, "_node", (node_module.os.getpid(), node))
    health._running.clear()
    yield


async def test_an_instance_that_is_well_says_so_with_times(node: Node) -> None:
    """Every check by name, and how long it took."""
    await until(lambda: all(node.checks().values()))
    await until(lambda: node.heartbeat.round_trips[0] > 0)
    found = await health.ready()
    assert found["ready"] is True
    assert set(found["checks"]) == {"redis", "limits", "database", "pubsub", "lease", "accepting"}
    assert all(check["ok"] and check["ms"] >= 0 for check in found["checks"].values())
    assert found["checks"]["redis"]["ms"] > 0
    assert found["checks"]["pubsub"]["ms"] > 0


async def test_a_silent_redis_fails_its_check_within_its_deadline_while_the_loop_turns(
    mortal_redis: RedisProcess, node: Node
) -> None:
    """Thousands may ask meanwhile: they share one question, and the loop goes on."""
    await until(lambda: all(node.checks().values()))
    assert mortal_redis._process is not None
    mortal_redis._process.send_signal(signal.SIGSTOP)
    try:
        commands, began, turns = get_store().first.stats.commands, time.monotonic(), 0
        asked = [asyncio.ensure_future(health.ready()) for _ in range(1000)]
        while not all(one.done() for one in asked):
            turns += 1
            await asyncio.sleep(0.01)
        took = time.monotonic() - began
        found: list[dict[str, Any]] = [one.result() for one in asked]
    finally:
        mortal_redis._process.send_signal(signal.SIGCONT)
    assert not any(one["ready"] or one["checks"]["redis"]["ok"] for one in found)
    assert all("no answer" in one["checks"]["redis"]["problem"] for one in found)
    assert all(one["checks"]["database"]["ok"] for one in found)
    assert took < health.CHECKS["redis"].within + 5
    assert turns > 10
    assert get_store().first.stats.commands - commands < 50 + PARTITIONS  # which are looked at once a second


async def test_a_silent_database_holds_one_thread_however_often_it_is_asked(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event loop has few threads; who looks up a name needs one."""
    asked: list[threading.Event] = []
    over = threading.Event()

    def silent() -> None:
        asked.append(over)
        over.wait(30)

    monkeypatch.setattr(health, "_ask_database", silent)
    monkeypatch.setitem(health.CHECKS, "database", health.Check(health._database, 0.05))
    try:
        for _ in range(10):
            health._running.clear()
            found = await health.ready()
            assert found["checks"]["database"]["problem"] == "no answer within 0.05 s"
        await until(lambda: asked)
        assert len(asked) == 1
    finally:
        over.set()
    health._running.clear()
    monkeypatch.setitem(health.CHECKS, "database", health.Check(health._database, 20))
    assert (await health.ready())["checks"]["database"]["ok"]


async def test_a_flood_of_questions_is_no_flood_of_checks(node: Node) -> None:
    """The endpoint is open to all."""
    await until(lambda: all(node.checks().values()))
    commands = get_store().first.stats.commands
    for _ in range(100):
        await health.ready()
    assert get_store().first.stats.commands - commands < 100


async def test_a_redis_that_takes_no_writes_is_not_ready(mortal_redis: RedisProcess, node: Node) -> None:
    """A replica, or one that is full: it answers PING and is of no use."""
    await until(lambda: all(node.checks().values()))
    mortal_redis.ask("CONFIG", "SET", "maxmemory", "1")
    found = await health.ready()
    assert found["checks"]["redis"] == {
        "ok": False,
        "ms": found["checks"]["redis"]["ms"],
        "problem": "OOM",
    }


@pytest.mark.parametrize("name", ["READONLY", "BUSY", "NOPERM scripts", "NOPERM streams", "NOPERM publish"])
async def test_a_redis_that_refuses_what_the_product_asks_is_not_ready_until_it_does_it(
    mortal_redis: RedisProcess, node: Node, name: str
) -> None:
    """The check does what the product does; the answer names the code, and nothing that tells of hosts or users."""
    await until(lambda: all(node.checks().values()))
    async with FAULTS[name](mortal_redis):
        await until(lambda: problem("redis", name.partition(" ")[0], "ERR"))  # ERR: NOPERM within a script
    await until(lambda: ready())


async def problem(check: str, *codes: str) -> bool:
    found = (await health.ready())["checks"][check]
    return not found["ok"] and found["problem"] in codes


async def ready() -> bool:
    return bool((await health.ready())["ready"])


async def test_one_poisoned_key_takes_no_instance_out_of_the_balancer(mortal_redis: RedisProcess, node: Node) -> None:
    """A channel that cannot be served is no reason: every instance would go at once."""
    await until(lambda: all(node.checks().values()))
    for key in (placement_of("open:a").key("meta"), placement_of("open:a").key("stream"), home_of("c:open:a").entries):
        mortal_redis.ask("SET", key, "poison")
    peer = Peer(node)
    await peer.connect()
    assert (await peer.ask(subscribe={"channel": "open:a"}))["error"]["code"] == 100
    assert await ready()


async def test_what_a_process_saw_last_grows_stale(monkeypatch: pytest.MonkeyPatch, node: Node) -> None:
    """A loop that does not come to look at itself is not ready, whatever it said before."""
    await until(lambda: all(node.checks().values()))
    watch = health.Watch()
    assert not watch.ready
    await watch.start()
    await until(lambda: watch.ready)
    assert watch.checks["database"] is True
    monkeypatch.setattr(health, "STALE_AFTER", 0.0)
    assert not watch.ready
    monkeypatch.undo()
    await watch.stop()
    assert not watch.ready
