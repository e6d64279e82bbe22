"""Redis paused, restarted empty, brought back from an older snapshot: nobody alive is reaped, and the truth returns."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from flotilla.presence import keys
from flotilla.presence.decisions import chunks
from flotilla.store import StoreUnavailable
from tests.presence.cluster import (
    RENEW,
    TIMEOUT,
    TTL,
    Ear,
    Instance,
    Maker,
    PrivateRedis,
    drifted,
    eventually,
    passes,
    without_ttl,
)

pytestmark = pytest.mark.asyncio

ROOM = "c:room"


@pytest_asyncio.fixture
async def pair(make: Maker) -> AsyncIterator[tuple[Instance, Instance]]:
    """Two confident instances with two connections each."""
    a, b = await make("a"), await make("b")
    for instance, name in ((a, "a"), (b, "b")):
        for number in "12":
            await instance.add(ROOM, name + number, name, (name + number).encode())
    await eventually(lambda: a.confident and b.confident, "confident")
    yield a, b


FULL = {name: name.encode() for name in ("a1", "a2", "b1", "b2")}


async def whole_again(pair: tuple[Instance, Instance], expected: dict[str, bytes]) -> None:
    async def whole() -> bool:
        return all(one.settled for one in pair) and await pair[0].members(ROOM) == expected

    await eventually(whole, f"members are {expected}")


async def nobody_reaped(pair: tuple[Instance, Instance], names: list[str]) -> None:
    """Once all could be confident again, and for a lease more."""
    await eventually(lambda: all(one.confident for one in pair), "confident again")
    await passes(TTL)
    assert [one.incarnation for one in pair] == names
    assert [one.fencings for one in pair] == [0, 0]
    assert [one.reaped for one in pair] == [[], []]


@pytest.mark.parametrize("pause", [0.5 * TIMEOUT, TTL - 0.1, TTL + 0.5, 3.5 * TTL])
async def test_paused_redis_gets_nobody_reaped(
    pair: tuple[Instance, Instance], server: PrivateRedis, ear: Ear, pause: float
) -> None:
    names = [one.incarnation for one in pair]
    server.pause()
    await passes(pause)
    server.resume()
    await nobody_reaped(pair, names)
    await whole_again(pair, FULL)
    assert not ear.leaves
    assert drifted(server) == []


async def test_redis_restarted_empty_is_filled_again_silently(
    pair: tuple[Instance, Instance], server: PrivateRedis
) -> None:
    names = [one.incarnation for one in pair]
    server.kill()
    server.start()
    ear = Ear(server)
    await whole_again(pair, FULL)
    await nobody_reaped(pair, names)
    assert await pair[0].stats(ROOM) == (4, 2)
    assert not ear.joins and not ear.leaves
    ear.close()
    assert drifted(server) == [] and without_ttl(server) == []
    for one in pair:
        with server.client() as redis:
            assert redis.smembers(keys.registered(one.incarnation)) == {ROOM.encode()}


async def test_flushed_redis_is_filled_again(pair: tuple[Instance, Instance], server: PrivateRedis) -> None:
    names = [one.incarnation for one in pair]
    with server.client() as redis:
        redis.flushall()
        redis.script_flush()
    await whole_again(pair, FULL)
    await nobody_reaped(pair, names)


@pytest.mark.parametrize("away", [0.0, 1.5 * TTL], ids=["at once", "after the leases"])
async def test_older_snapshot_is_corrected(pair: tuple[Instance, Instance], server: PrivateRedis, away: float) -> None:
    """What came since returns silently; what went since goes with a leave, in a scope that was left for good too."""
    a, b = pair
    names = [one.incarnation for one in pair]
    await a.add("c:left", "a1", "a", b"a1")
    server.snapshot()
    await a.remove("c:left", "a1")
    await eventually(lambda: "c:left" not in a._current.records, "closed")
    await b.add(ROOM, "b3", "b", b"b3")
    await b.add("c:new", "b3", "b", b"b3")
    await b.remove(ROOM, "b1")
    server.kill()
    await passes(away)
    server.start()
    await whole_again(pair, {name: name.encode() for name in ("a1", "a2", "b2", "b3")})

    async def elsewhere() -> bool:
        return await a.stats("c:left") == (0, 0) and await a.members("c:new") == {"b3": b"b3"}

    await eventually(elsewhere, "other scopes are right")
    await nobody_reaped(pair, names)
    assert drifted(server) == [] and without_ttl(server) == []


async def test_restart_from_a_snapshot_newer_than_the_last_mark_is_noticed(make: Maker, server: PrivateRedis) -> None:
    """Neither the lease nor the mark is missing: only the run's id tells that it is another run of Redis."""
    a = await make("a", lease_ttl=30.0, renew_every=1.5)
    await a.add(ROOM, "a1", "a", b"a1")
    marks = dict(a._repair._marks)
    await eventually(lambda: a._repair._marks != marks, "a mark")
    server.snapshot()
    await a.add(ROOM, "a2", "a", b"a2")
    server.kill()
    server.start()

    async def back() -> bool:
        return await a.members(ROOM) == {"a1": b"a1", "a2": b"a2"}

    await eventually(back, "the second came back")


async def test_instance_that_died_with_redis_is_reaped_from_the_snapshot(
    pair: tuple[Instance, Instance], server: PrivateRedis
) -> None:
    a, b = pair
    server.snapshot()
    server.kill()
    await a.crash()
    server.start()
    await eventually(lambda: bool(b.reaped), "reaped")
    assert await b.members(ROOM) == {"b1": b"b1", "b2": b"b2"}
    assert b.fencings == 0


@pytest.mark.parametrize("how", ["paused", "killed"])
async def test_remove_while_redis_is_away_is_not_lost(
    pair: tuple[Instance, Instance], server: PrivateRedis, how: str
) -> None:
    a, b = pair
    server.snapshot()
    server.pause() if how == "paused" else server.kill()
    assert not await a.remove(ROOM, "a1")
    assert not await b.remove(ROOM, "b1")
    server.resume() if how == "paused" else server.start()
    await whole_again(pair, {"a2": b"a2", "b2": b"b2"})
    assert drifted(server) == []


async def test_leave_of_a_remove_that_was_late_is_announced_once(
    pair: tuple[Instance, Instance], server: PrivateRedis, ear: Ear
) -> None:
    a, _ = pair
    server.pause()
    assert not await a.remove(ROOM, "a1")
    server.resume()
    await whole_again(pair, {name: info for name, info in FULL.items() if name != "a1"})
    assert ear.leaves == {(ROOM, b"a1"): 1}


async def test_add_while_redis_is_away_fails_and_leaves_nothing(
    pair: tuple[Instance, Instance], server: PrivateRedis, ear: Ear
) -> None:
    a, _ = pair
    server.pause()
    for scope in (ROOM, "c:new"):
        with pytest.raises(StoreUnavailable):
            await a.add(scope, "late", "ann", b"late")
    server.resume()
    await whole_again(pair, FULL)

    async def nothing() -> bool:
        return await a.stats("c:new") == (0, 0)

    await eventually(nothing, "nothing entered")
    assert ear.joins[ROOM, b"late"] == ear.leaves[ROOM, b"late"]


async def test_connection_that_came_back_while_its_remove_was_in_doubt_stays(
    pair: tuple[Instance, Instance], server: PrivateRedis
) -> None:
    a, _ = pair
    server.pause()
    assert not await a.remove(ROOM, "a1")
    server.resume()

    async def entered() -> bool:
        try:
            await a.add(ROOM, "a1", "a", b"a1")
        except StoreUnavailable:
            return False
        return True

    await eventually(entered, "entered again")
    await whole_again(pair, FULL)
    await passes(RENEW)
    assert await a.members(ROOM) == FULL


async def test_start_without_redis_waits_for_it(make: Maker, server: PrivateRedis) -> None:
    server.kill()
    a = await make("a")
    assert not a.alive
    with pytest.raises(StoreUnavailable):
        await a.add(ROOM, "a1", "ann", b"")
    server.start()
    await eventually(lambda: a.alive, "alive")
    assert await a.add(ROOM, "a1", "ann", b"")


async def test_add_just_after_a_restart_does_not_wait_for_the_next_renewal(make: Maker, server: PrivateRedis) -> None:
    a = await make("a", lease_ttl=60.0, renew_every=20.0)
    await a.add(ROOM, "a1", "ann", b"1")
    with server.client() as redis:
        redis.flushall()
    assert await a.add("c:new", "a2", "ann", b"2")

    async def back() -> bool:
        return await a.members(ROOM) == {"a1": b"1"}

    await eventually(back, "the others came back too")


class TestTwoShards:
    """The lease is on the first; rooms are on both."""

    @pytest_asyncio.fixture
    async def both(self, make: Maker, server: PrivateRedis, second_server: PrivateRedis) -> tuple[Instance, Instance]:
        urls = [server.url, second_server.url]
        a, b = await make("a", urls), await make("b", urls)
        for number in range(20):
            for instance, name in ((a, "a1"), (b, "b1")):
                await instance.add(f"c:{number}", name, name, name.encode())
        await eventually(lambda: a.confident and b.confident, "confident")
        return a, b

    @staticmethod
    async def everywhere(both: tuple[Instance, Instance], expected: dict[str, bytes]) -> None:
        async def whole() -> bool:
            rooms = await asyncio.gather(*(both[1].members(f"c:{number}") for number in range(20)))
            return all(room == expected for room in rooms)

        await eventually(whole, f"{expected} everywhere")

    async def test_crash_is_reaped_on_both(self, both: tuple[Instance, Instance]) -> None:
        await both[0].crash()
        await self.everywhere(both, {"b1": b"b1"})

    @pytest.mark.parametrize("which", ["first", "second"])
    async def test_one_restarted_empty_is_filled_again(
        self, both: tuple[Instance, Instance], server: PrivateRedis, second_server: PrivateRedis, which: str
    ) -> None:
        names = [one.incarnation for one in both]
        lost = server if which == "first" else second_server
        lost.kill()
        lost.start()
        await self.everywhere(both, {"a1": b"a1", "b1": b"b1"})
        await nobody_reaped(both, names)

    async def test_second_flushed_without_a_restart_is_filled_again(
        self, both: tuple[Instance, Instance], second_server: PrivateRedis
    ) -> None:
        with second_server.client() as redis:
            redis.flushall()
        await self.everywhere(both, {"a1": b"a1", "b1": b"b1"})

    async def test_second_paused_hinders_neither_the_lease_nor_the_reaping_on_the_first(
        self, both: tuple[Instance, Instance], second_server: PrivateRedis
    ) -> None:
        a, b = both
        second_server.pause()
        try:
            await a.crash()
            await eventually(lambda: bool(b.reaped), "reaped where it can be")
            assert b.fencings == 0 and b.alive
        finally:
            second_server.resume()
        await self.everywhere(both, {"b1": b"b1"})

    async def test_healthy_shard_is_reaped_while_the_other_hangs(
        self, make: Maker, server: PrivateRedis, second_server: PrivateRedis
    ) -> None:
        """However many scopes wait on the one that hangs."""
        urls = [server.url, second_server.url]
        a, b = [await make(name, urls, lease_ttl=6.0, renew_every=0.5) for name in "ab"]
        rooms = [f"c:{number}" for number in range(1000)]
        for some in chunks(rooms, 50):
            await asyncio.gather(*(a.add(room, "a1", "a1", b"a1") for room in some))
        healthy = [room for room in rooms if a._entries.shard(room) is a.store.first]
        await eventually(lambda: b.confident, "confident")

        async def left(some: list[str]) -> bool:
            return not any([await b.members(room) for room in some])

        second_server.pause()
        try:
            await a.crash()
            await b.expire(a.incarnation)
            await eventually(lambda: left(healthy), "the healthy one's are gone", within=10.0)
        finally:
            second_server.resume()
        await eventually(lambda: left(rooms), "the others are gone, too")

    async def test_entries_that_no_list_knows_are_found_and_reaped(
        self, both: tuple[Instance, Instance], server: PrivateRedis
    ) -> None:
        """The first shard lost its state together with an instance; the second still has that one's entries."""
        a, b = both
        await a.crash()
        server.kill()
        server.start()
        await self.everywhere(both, {"b1": b"b1"})
        assert b.fencings == 0


async def worker(server: PrivateRedis) -> asyncio.subprocess.Process:
    """A process of its own with 50 connections in ROOM."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.presence.worker", server.url, stdout=asyncio.subprocess.PIPE, env=os.environ
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"entered\n"
    return process


async def test_killed_process_leaves_within_its_lease_and_two_checks(
    make: Maker, server: PrivateRedis, ear: Ear
) -> None:
    a = await make("a")
    process = await worker(server)
    assert await a.stats(ROOM) == (50, 50)
    await eventually(lambda: a.confident, "confident")
    process.kill()
    await process.wait()

    async def empty() -> bool:
        return await a.stats(ROOM) == (0, 0)

    await eventually(empty, "all gone")
    assert set(ear.leaves.values()) == {1} and len(ear.leaves) == 50


async def test_process_stopped_beyond_its_lease_is_fenced_with_one_leave_and_one_join_each(
    make: Maker, server: PrivateRedis, ear: Ear
) -> None:
    a = await make("a")
    process = await worker(server)
    try:
        await eventually(lambda: a.confident, "confident")
        process.send_signal(signal.SIGSTOP)

        async def empty() -> bool:
            return await a.stats(ROOM) == (0, 0)

        await eventually(empty, "all gone")
        process.send_signal(signal.SIGCONT)
        assert process.stdout is not None
        assert await process.stdout.readline() == b"fenced\n"
        assert await process.stdout.readline() == b"entered again\n"
        assert await a.stats(ROOM) == (50, 50)
        assert set(ear.leaves.values()) == {1} and len(ear.leaves) == 50
        assert set(ear.joins.values()) == {1} and len(ear.joins) == 100
    finally:
        process.kill()
        await process.wait()
