"""The rights of Redis's user as docs/SECURITY.md says them: the whole product runs with exactly these, and readiness
fails without any one of them."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from flotilla.monitoring import health, rights
from flotilla.monitoring.probe import LimitsProbe, ShardProbe, Unready
from flotilla.monitoring.rights import OUTSIDE, OUTSIDE_OF_LIMITS, ProbeKeys
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
from flotilla.store import Script, Shard, get_store
from flotilla.store.shards import reset_store
from tests.realtime.client.peers import Peer
from tests.store.redis_process import RedisProcess, until

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "SECURITY.md").read_text()
LINES = re.findall(r"^ACL SETUSER .*(?:\n .*)*", DOCUMENT, re.MULTILINE)
KEYS = ProbeKeys("s", "b", "h", "m", "z", "l", "x")
COMMANDS = rights.names(rights.commands(KEYS, "t", 0), OUTSIDE)
COMMANDS_OF_LIMITS = rights.names(rights.commands_of_limits(KEYS), OUTSIDE_OF_LIMITS)
EVERYWHERE = sorted({*COMMANDS, *COMMANDS_OF_LIMITS})
PREFIX = "flotilla"


def words(line: str) -> list[str]:
    return line.replace(">PASSWORD", ">s3cret").split()


def test_the_documented_lines_are_those_that_are_tried() -> None:
    """For one Redis, for one whose limits are elsewhere, and for that of the limits."""
    keys, topics = f"{PREFIX}:*", [f"{PREFIX}*"]
    wanted = [
        rights.acl("flotilla", [keys, "{rl}*"], topics, EVERYWHERE),
        rights.acl("flotilla", [keys], topics, COMMANDS),
        rights.acl("flotilla-limits", ["{rl}*"], [], COMMANDS_OF_LIMITS),
    ]
    assert [" ".join(line.split()) for line in LINES] == wanted


def test_every_command_of_every_script_is_tried() -> None:
    """One that is new belongs into the tables of `flotilla.monitoring.rights`."""
    optional = {"rpush"}  # of the limits' proofs
    ours = [script for script in Script.registered.values() if not script.name.startswith("test")]
    for script in ours:
        used = {name.lower() for name in re.findall(r"redis\.p?call\('(\w+)'", script.text)}
        limits = script.name.startswith("flotilla.ratelimit.")
        assert used - (optional if limits else set()) <= set(COMMANDS_OF_LIMITS if limits else COMMANDS), script


def test_every_command_that_the_code_sends_is_tried() -> None:
    """Those by name; what scripts and the layer send is tried besides. What a run of tests sends needs no rights."""
    for app in ("realtime", "presence", "monitoring", "store", "ratelimit"):
        for file in set((ROOT / app).rglob("*.py")) - {ROOT / "store" / "test_run.py"}:
            sent = re.findall(r"(?:execute|execute_sync|\.call)\(\s*\"([A-Z]+)\"", file.read_text())
            allowed = COMMANDS_OF_LIMITS if app == "ratelimit" else COMMANDS
            assert {name.lower() for name in sent} - {"script"} <= set(allowed), file


# Exactly these rights


@pytest.fixture(scope="module")
def server() -> Iterator[RedisProcess]:
    """A Redis with the documented users."""
    process = RedisProcess()
    for line in LINES[:1] + LINES[2:]:
        process.ask(*words(line))
    yield process
    process.close()


@pytest.fixture
def redis_process(server: RedisProcess) -> RedisProcess:
    server.ask("FLUSHALL")
    server.ask("ACL", "LOG", "RESET")
    return server


@pytest.fixture
def redis_url(redis_process: RedisProcess) -> str:
    return f"unix://flotilla:s3cret@{redis_process.socket}"


def denied(server: RedisProcess) -> list[str]:
    """What was refused to our users, but for what redis-py says of itself to a Redis, and does without."""
    entries = server.ask("ACL", "LOG")
    told = [entry if isinstance(entry, dict) else dict(zip(entry[::2], entry[1::2], strict=True)) for entry in entries]
    found = [{_text(key): _text(value) for key, value in entry.items()} for entry in told]
    return [f"{entry['context']} {entry['object']}" for entry in found if not entry["object"].startswith("client")]


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


@pytest.mark.asyncio
@pytest.mark.django_db(transaction=True)
async def test_the_whole_product_runs_with_exactly_these_rights(
    configured: Any, redis_process: RedisProcess, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Subscribing, history, presence, limits, control, blocks, what the admin's pages read, readiness, and the end."""
    configured.RATE_LIMIT_REDIS_URL = f"unix://flotilla-limits:s3cret@{redis_process.socket}"
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
    assert denied(redis_process) == []


async def _forgotten(node: Node, other: Node) -> bool:
    return other.presence.incarnation not in await node.presence._leases.known()


# Without one of them


@pytest_asyncio.fixture
async def probe(configured: Any, redis_url: str) -> AsyncIterator[ShardProbe]:
    reset_store()
    yield ShardProbe(get_store().first, of_leases=True)
    await get_store().close()


async def refusal(trying: ShardProbe | LimitsProbe) -> str:
    """What it says; "" when it is content."""
    try:
        await trying.run()
    except Unready as error:
        assert error.code == "NOPERM"
        return str(error)
    return ""


@pytest.mark.asyncio
@pytest.mark.parametrize("command", COMMANDS)
async def test_readiness_fails_without_a_command_and_names_it(
    probe: ShardProbe, redis_process: RedisProcess, command: str
) -> None:
    assert await refusal(probe) == ""
    command = command.partition("|")[0]  # Redis 6.2 takes away whole commands only
    redis_process.ask("ACL", "SETUSER", "flotilla", f"-{command}")
    try:
        found = await until(lambda: refusal(probe))
    finally:
        redis_process.ask(*words(LINES[0]))
    assert command in found
    await until(lambda: _content(probe))


@pytest.mark.asyncio
@pytest.mark.parametrize("command", COMMANDS_OF_LIMITS)
async def test_readiness_fails_without_a_command_of_the_limits_and_names_it(
    configured: Any, redis_process: RedisProcess, command: str
) -> None:
    shard = Shard(0, f"unix://flotilla-limits:s3cret@{redis_process.socket}")
    trying = LimitsProbe(shard)
    assert await refusal(trying) == ""
    command = command.partition("|")[0]  # as above
    redis_process.ask("ACL", "SETUSER", "flotilla-limits", f"-{command}")
    try:
        found = await until(lambda: refusal(trying))
    finally:
        redis_process.ask(*words(LINES[2]))
    assert command in found
    await until(lambda: _content(trying))
    await shard.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("left", ["~flotilla:* ~{rl}*", "&flotilla*"], ids=["topics", "keys"])
async def test_readiness_fails_without_rights_on_keys_or_topics(
    probe: ShardProbe, redis_process: RedisProcess, left: str
) -> None:
    assert await refusal(probe) == ""
    redis_process.ask("ACL", "SETUSER", "flotilla", "resetkeys", "resetchannels", *left.split())
    try:
        assert await until(lambda: refusal(probe))
    finally:
        redis_process.ask(*words(LINES[0]))
    await until(lambda: _content(probe))


async def _content(trying: ShardProbe | LimitsProbe) -> bool:
    return not await refusal(trying)
