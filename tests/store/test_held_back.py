"""Calls that wait for a master which is about to be replaced: none is sent too early, and none waits for ever."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from redis.exceptions import AuthenticationError

from flotilla.store import Shard
from flotilla.store.address import parse
from flotilla.store.deadline import within
from flotilla.store.errors import StoreNotAsked
from flotilla.store.pools import guide_of
from flotilla.store.promotions import promoted
from flotilla.store.sentinels import Said, Sentinels
from tests.store.redis_fleet import Server
from tests.store.redis_process import RedisProcess, until

pytestmark = pytest.mark.asyncio

NOBODY = ("127.0.0.1", "1")  # a master, or a sentinel, that is not there


@pytest_asyncio.fixture
async def shard(mortal_redis: RedisProcess) -> AsyncIterator[Shard]:
    made = Shard(0, mortal_redis.url)
    yield made
    await made.close()


async def test_a_link_that_connects_meanwhile_sends_nothing(shard: Shard, mortal_redis: RedisProcess) -> None:
    link = shard._link()
    call = link.call(("SET", "key", "new"))
    await asyncio.sleep(0)  # it begins to connect
    assert link._connecting is not None
    link._hold_back()
    await until(lambda: link.connected and link._connecting is None)
    assert await asyncio.to_thread(mortal_redis.ask, "GET", "key") is None and not call.done()
    link.moved()
    assert await asyncio.wait_for(call, 10) == b"OK"


async def test_an_attempt_that_fails_meanwhile_takes_no_call_with_it(shard: Shard, mortal_redis: RedisProcess) -> None:
    """The master that was to be replaced is dead already."""
    mortal_redis.kill()
    link = shard._link()
    call = link.call(("SET", "key", "new"))
    await asyncio.sleep(0)
    assert link._connecting is not None
    link._hold_back()
    await until(lambda: link._connecting is None)
    assert not call.done()
    mortal_redis.start()
    link.moved()
    assert await asyncio.wait_for(call, 10) == b"OK"


async def test_a_call_after_the_end_does_not_wait_for_ever(shard: Shard) -> None:
    """What was held back fails with the end; what comes later is a call like any other."""
    link = shard._link()
    assert await link.call(("PING",)) == b"PONG"
    link._hold_back()
    held = link.call(("PING",))
    await link.close()
    assert isinstance(held.exception(), Exception)
    assert await asyncio.wait_for(link.call(("PING",)), 10) == b"PONG"
    await link.close()


@pytest.mark.parametrize("how", ["its deadline", "its time-out"])
async def test_a_thread_whose_time_is_up_sends_nothing_to_the_old_master(mortal_redis: RedisProcess, how: str) -> None:
    """It is told that nothing was sent, and so nothing is lost that was answered; no outage is seen in it."""
    shard = Shard(0, mortal_redis.url, 0.1 if how == "its time-out" else 2.0)

    def set_in_time() -> None:
        with within(0.1) if how == "its deadline" else contextlib.nullcontext():
            shard.execute_sync("SET", "key", "new")

    try:
        await asyncio.to_thread(shard.execute_sync, "PING")
        shard._threads._settled_by = 0.0
        shard._threads.leaving()
        with pytest.raises(StoreNotAsked, match="another master"):
            await asyncio.to_thread(set_in_time)
        assert not shard.silent
        shard._threads.moved()
        assert await asyncio.to_thread(shard.execute_sync, "GET", "key") is None
    finally:
        await shard.close()


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Server]:
    """A replica that is about to be promoted."""
    made = Server(tmp_path / "replica", options={"replicaof": " ".join(NOBODY)})
    yield made
    made.kill()


class Follower:
    """Says what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def moved(self) -> None:
        self.told.append("moved")

    def leaving(self) -> None:
        self.told.append("leaving")


async def test_who_has_its_first_call_during_a_failover_waits_as_well(replica: Server) -> None:
    """It has no connection yet, and would make its first one to the old master."""
    url = f"redis+sentinel://{':'.join(NOBODY)}/held-{replica.port}/0"
    behind = guide_of(url)
    assert isinstance(behind, Sentinels)
    early, late, after = Follower(), Follower(), Follower()
    shard = Shard(0, url)

    async def foresee() -> None:
        behind._said = Said(1, (NOBODY[0], int(NOBODY[1])))
        behind._foresee((replica.host, replica.port))

    behind.follow(early)
    try:
        await asyncio.wrap_future(behind._speaker.run(foresee()))
        behind.follow(late)
        calls = asyncio.gather(
            shard.execute("CONFIG", "GET", "port"), asyncio.to_thread(shard.execute_sync, "CONFIG", "GET", "port")
        )
        await until(lambda: shard._links and shard._threads._kept is not None)
        replica.ask("REPLICAOF", "NO", "ONE")
        assert await asyncio.wait_for(calls, 10) == [[b"port", b"%d" % replica.port]] * 2
        behind.follow(after)
        assert (early.told, late.told, after.told) == (["leaving", "moved"], ["leaving", "moved"], [])
    finally:
        for one in (early, late, after):
            behind.leave(one)
        await shard.close()


async def test_a_promoted_server_that_does_not_answer_is_not_taken_for_demoted(replica: Server) -> None:
    """The sentinels that have not heard of it would lead back to the old master."""
    behind = guide_of(f"redis+sentinel://{':'.join(NOBODY)}/silent-{replica.port}/0")
    assert isinstance(behind, Sentinels)
    new = (replica.host, replica.port)

    async def asked() -> tuple[str, int]:
        behind._said, behind._seen_until = Said(2, new), asyncio.get_running_loop().time() + 600
        return await behind._ask()

    replica.kill()
    assert await asyncio.wrap_future(behind._speaker.run(asked())) == new


async def test_sentinels_that_answered_before_a_promotion_do_not_take_it_back(replica: Server) -> None:
    """They were asked while it happened."""
    behind = guide_of(f"redis+sentinel://{':'.join(NOBODY)}/early-{replica.port}/0")
    assert isinstance(behind, Sentinels)
    old, new, follower = ("127.0.0.1", 1), (replica.host, replica.port), Follower()

    async def asked() -> tuple[str, int]:
        async def answer(_: tuple[str, int]) -> Said:
            behind._learn(Said(2, new))
            return Said(1, old)

        behind._said, behind._ask_one = Said(1, old), answer  # type: ignore[method-assign]
        return await behind._ask()

    behind._followers.add(follower)
    assert await asyncio.wrap_future(behind._speaker.run(asked())) == new
    assert follower.told == ["moved"]


async def test_a_replica_with_another_password_is_asked_once(tmp_path: Path) -> None:
    """Not every 20 ms: it would fill its log, and never say yes."""
    server = Server(tmp_path / "guarded", options={"requirepass": "word"}, password="word")
    address = parse(f"redis+sentinel://:wrong@{':'.join(NOBODY)}/mymaster/0")
    try:
        began = time.monotonic()
        with pytest.raises(AuthenticationError):
            await promoted(address, (server.host, server.port))
        assert len(server.ask("ACL", "LOG")) == 1, f"after {time.monotonic() - began:.1f} s"
    finally:
        server.kill()
