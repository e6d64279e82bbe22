"""Following a channel: every publication from the start on, in order, until so many; a lost connection ends it."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from flotilla import apublish
from flotilla.realtime.engine import listener
from flotilla.realtime.node.node import Node
from flotilla.store.shards import reset_store
from tests.realtime.management.shell import failing, people, run
from tests.store.pausing import hung
from tests.store.redis_process import RedisProcess, until

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture(autouse=True)
async def ended(shared_redis: RedisProcess) -> AsyncIterator[None]:
    """A thread that still follows would keep the test's loop from ending."""
    yield
    shared_redis.ask("CLIENT", "KILL", "TYPE", "pubsub")


async def following(redis: RedisProcess, *words: str) -> "asyncio.Task[str]":
    """A `tail` that has begun to listen."""
    before = _listening(redis)
    task = asyncio.create_task(run("tail", *words))
    await until(lambda: task.done() or _listening(redis) > before)
    return task


def _listening(redis: RedisProcess) -> int:
    return sum("flags=P" in line for line in redis.ask("CLIENT", "LIST", "TYPE", "pubsub").decode().splitlines())


async def test_what_is_published_is_shown_in_order_until_so_many(node: Node, redis_process: RedisProcess) -> None:
    """From whoever it is; a channel without history as well."""
    (peer,) = await people(node, "7", room="plain:b")
    with_history = await following(redis_process, "open:a", "--count", "3", "--json")
    without = await following(redis_process, "plain:b", "--count", "2")
    for number in range(4):
        await apublish("open:a", {"n": number})
    await apublish("plain:b", "from the server")
    await peer.ask(publish={"channel": "plain:b", "data": "from a client"})
    told = [json.loads(line) for line in (await with_history).splitlines()]
    assert [(one["channel"], one["offset"], one["data"]) for one in told] == [
        ("open:a", number + 1, {"n": number}) for number in range(3)
    ]
    assert all(one["epoch"] and one["published_at"] > 1_700_000_000 for one in told)
    first, second = (await without).splitlines()
    assert first.endswith('-  (server)  "from the server"')
    assert second.endswith('-  7  "from a client"')


async def test_it_can_begin_with_the_last_of_history(node: Node) -> None:
    for number in range(5):
        await apublish("open:a", number)
    task = asyncio.create_task(run("tail", "open:a", "--last", "2", "--count", "6", "--json"))
    number = 5
    while not task.done():  # also while it reads history: nothing is missing between the two, or shown twice
        await apublish("open:a", number)
        number += 1
        await asyncio.sleep(0.005)
    shown = [json.loads(line)["data"] for line in (await task).splitlines()]
    assert shown == list(range(shown[0], shown[0] + 6))
    assert shown[0] >= 3
    said = await run("tail", "open:a", "--last", "2", "--count", "2", "--json")
    assert [json.loads(line)["data"] for line in said.splitlines()] == [number - 2, number - 1]


async def test_a_redis_that_ends_is_said(configured: Any, mortal_redis: RedisProcess) -> None:
    configured.REDIS_URLS = [mortal_redis.url]
    reset_store()
    waiting = asyncio.create_task(failing("tail", "open:a", status=3))
    await until(lambda: _listening(mortal_redis) == 1)
    mortal_redis.kill()
    assert (await waiting).startswith("Redis does not answer")


async def test_a_redis_that_hangs_is_noticed(configured: Any, mortal_redis: RedisProcess, monkeypatch: Any) -> None:
    configured.REDIS_URLS = [mortal_redis.url]
    reset_store()
    monkeypatch.setattr(listener, "ASK_EVERY", 0.2)
    waiting = asyncio.create_task(failing("tail", "open:a", status=3))
    await until(lambda: _listening(mortal_redis) == 1)
    with hung(mortal_redis):
        assert "Redis does not answer" in await waiting


async def test_a_quiet_channel_is_waited_for(node: Node, redis_process: RedisProcess, monkeypatch: Any) -> None:
    """Longer than Redis is asked whether it is there."""
    monkeypatch.setattr(listener, "ASK_EVERY", 0.05)
    redis_process.ask("CONFIG", "RESETSTAT")
    task = await following(redis_process, "open:a", "--count", "1", "--json")
    await until(lambda: redis_process.ask("INFO", "commandstats").get("cmdstat_ping", {}).get("calls", 0) >= 3)
    await apublish("open:a", "at last")
    assert json.loads(await task)["data"] == "at last"


async def test_a_channel_that_cannot_be_is_refused(node: Node) -> None:
    assert await failing("tail", "nowhere:a") == "Cannot follow 'nowhere:a': unknown channel."


async def test_a_user_is_followed_over_all_instances_until_so_many(node: Node) -> None:
    """Masked, unless payloads are asked for; then nothing is left."""
    (peer,) = await people(node, "7", room="plain:b")

    async def followed(*words: str) -> list[str]:
        task = asyncio.create_task(run("tail", *words))
        await until(lambda: node.taps is not None or task.done())
        await peer.ask(publish={"channel": "plain:b", "data": "secret"})
        lines = (await task).splitlines()
        await until(lambda: node.taps is None)
        return lines

    for options, said in (((), None), (("--payloads",), '"secret"')):
        told = [json.loads(one) for one in await followed("--user", "id:7", "--count", "2", "--json", *options)]
        seen = sorted((one["kind"], one["size"], one.get("data")) for one in told)
        assert seen == [("command", 8, said), ("publication", 8, said)]
    (masked,) = await followed("--client", peer.client.id, "--count", "1")
    assert "(8 bytes, masked)" in masked
    assert "one of them" in await failing("tail")
    assert "one of them" in await failing("tail", "open:a", "--user", "id:7")
