"""The rights of Redis's user as docs/SECURITY.md says them: the whole product runs with exactly these, and readiness
fails without any one of them."""

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from flotilla.monitoring import rights
from flotilla.monitoring.probe import LimitsProbe, ShardProbe, Unready
from flotilla.monitoring.rights import OUTSIDE, OUTSIDE_OF_LIMITS, ProbeKeys
from flotilla.store import Script, Shard, get_store
from flotilla.store.own_names import name_per_shard
from flotilla.store.shards import reset_store
from tests.monitoring.whole_product import run_whole_product
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


def test_the_document_names_what_a_cluster_needs_besides() -> None:
    [told] = re.findall(r"^In a \[cluster\].*?\n\n", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert sorted(re.findall(r"\+([\w|]+)", told)) == list(rights.OF_CLUSTERS)


def test_every_command_of_every_script_is_tried() -> None:
    """One that is new belongs into the tables of `flotilla.monitoring.rights`."""
    optional = {"rpush"}  # of the limits' proofs
    allowed = set(rights.names(rights.commands(KEYS, "{t}", 0), OUTSIDE))
    ours = [script for script in Script.registered.values() if not script.name.startswith("test")]
    for script in ours:
        used = {name.lower() for name in re.findall(r"redis\.p?call\('(\w+)'", script.text)}
        limits = script.name.startswith("flotilla.ratelimit.")
        assert used - (optional if limits else set()) <= (set(COMMANDS_OF_LIMITS) if limits else allowed), script


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
    configured: Any, redis_process: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run_whole_product(configured, f"unix://flotilla-limits:s3cret@{redis_process.socket}", monkeypatch)
    assert denied(redis_process) == []


# Without one of them


@pytest_asyncio.fixture
async def probe(configured: Any, redis_url: str) -> AsyncIterator[ShardProbe]:
    reset_store()
    yield ShardProbe(get_store().first, name_per_shard(get_store(), "health\0")[0], of_leases=True)
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
