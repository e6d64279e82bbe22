"""Announcements reach those who are subscribed, whichever command the server has for that."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from flotilla.realtime.engine import calls
from flotilla.store import Shard, StoreRefused
from flotilla.store.partitions import Partitions
from tests.store.engine_process import CHOSEN, EngineProcess
from tests.store.redis_process import DEADLINE, RedisProcess

TOPICS = {"of a cluster": "flotilla__group__{tag}", "plain": "flotilla__group__0123"}

pytestmark = pytest.mark.skipif(CHOSEN, reason="the engine in the process has no SPUBLISH")


@pytest.fixture
def old() -> Iterator[EngineProcess]:
    """A server without SPUBLISH, as Redis before 7.0 is."""
    process = EngineProcess()
    yield process
    process.close()


def said(shard: Shard, how: str, topic: str) -> Any:
    """Announce something; how many have heard it, or what the script gives."""
    if how == "script":
        return shard.run_sync(calls.CONFIRM, ["{tag}m", "{tag}p", "{tag}d"], [topic, b"head", 0, 1000, 1, 2])
    if how == "thread":
        return shard.announce_sync(topic, b"head")

    async def announced() -> int:
        found = await shard.announce(topic, b"head")
        await shard.close()
        return found

    return asyncio.run(announced())


@pytest.mark.parametrize("how", ["script", "thread", "coroutine"])
@pytest.mark.parametrize("kind", list(TOPICS))
def test_a_topic_with_a_hash_tag_is_announced_to_its_shard(redis_process: RedisProcess, how: str, kind: str) -> None:
    """Others are announced to everybody, as ever."""
    shard, topic = Shard(0, redis_process.url), TOPICS[kind]
    with redis.Redis(unix_socket_path=str(redis_process.socket), protocol=2) as client, client.pubsub() as ear:
        (ear.ssubscribe if kind == "of a cluster" else ear.subscribe)(topic)
        assert ear.get_message(timeout=DEADLINE)["type"].endswith("subscribe")
        heard = said(shard, how, topic)
        assert how == "script" or heard == 1
        message = ear.get_message(timeout=DEADLINE)
        assert message["data"].startswith(b"head")
    shard.close_sync()


@pytest.mark.parametrize("how", ["script", "thread", "coroutine"])
def test_a_server_without_sharded_topics_tells_everybody(old: EngineProcess, how: str) -> None:
    """Redis before 7.0: it is asked once in each of its runs whether it has them."""
    shard, topic = Shard(0, old.url, partitions=Partitions()), TOPICS["of a cluster"]
    with old.client() as client, client.pubsub() as ear:
        ear.subscribe(topic)
        assert ear.get_message(timeout=DEADLINE)["type"] == "subscribe"
        for _ in range(3):
            said(shard, how, topic)
            assert ear.get_message(timeout=DEADLINE)["data"].startswith(b"head")
    assert shard.stats.refused == (0 if how == "script" else 1)
    shard.close_sync()


def test_another_refusal_is_the_callers(redis_process: RedisProcess) -> None:
    """A user who may not announce is told so, and nothing is sent another way."""
    redis_process.ask("ACL", "SETUSER", "default", "-spublish")
    shard = Shard(0, redis_process.url)
    try:
        with pytest.raises(StoreRefused) as refused:
            shard.announce_sync(TOPICS["of a cluster"], b"head")
        assert refused.value.code == "NOPERM"
    finally:
        redis_process.ask("ACL", "SETUSER", "default", "+spublish")
        shard.close_sync()
