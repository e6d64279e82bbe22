"""Several instances on one Redis: crashes, pauses beyond the lease, graceful stops, survivors that die midway."""

import asyncio

import pytest

from flotilla.presence import Fenced, keys
from flotilla.presence.leases import Leases
from flotilla.store import StoreUnavailable
from tests.presence.cluster import (
    TTL,
    Ear,
    Instance,
    Maker,
    PrivateRedis,
    drifted,
    eventually,
    fill,
    gone,
    passes,
    without_ttl,
)
from tests.store import cluster_process

pytestmark = pytest.mark.asyncio

ROOM, OTHER = "c:room", "c:other"


async def test_connections_of_a_crashed_instance_leave_once(make: Maker, ear: Ear, server: PrivateRedis) -> None:
    a, b, c = await make("a"), await make("b"), await make("c")
    await fill(a, ROOM, "a1", "a2")
    await fill(a, OTHER, "a1")
    await fill(b, ROOM, "b1")
    await a.crash()
    await gone(b, "a1", "a2", scope=ROOM)
    await gone(b, "a1", scope=OTHER)
    assert await c.members(ROOM) == {"b1": b"b1"}
    await eventually(lambda: not server.client().zscore(keys.leases(), a.incarnation), "forgotten")
    assert ear.leaves == {(ROOM, b"a1"): 1, (ROOM, b"a2"): 1, (OTHER, b"a1"): 1}
    told = [(one.scope, *entry) for who in (b, c) for one in who.reaped for entry in one.entries]
    first, second = ("a1", "user-a1", b"a1"), ("a2", "user-a2", b"a2")
    assert sorted(told) == [(OTHER, *first), (ROOM, *first), (ROOM, *second)]
    assert (b.fencings, c.fencings) == (0, 0)
    assert drifted(server) == [] and without_ttl(server) == []


async def test_crash_is_over_within_the_promised_time(make: Maker) -> None:
    """At the real ratio: lease 6 s + two checks of 1 s in 10 s; here scaled, and twice that for a slow machine."""
    a, b = await make("a"), await make("b")
    await fill(a, ROOM, "a1")
    await eventually(lambda: b.confident, "confident")
    await a.crash()
    began = asyncio.get_running_loop().time()
    await gone(b, "a1", scope=ROOM)
    assert asyncio.get_running_loop().time() - began < 2 * TTL * 10 / 6


async def test_expired_lease_is_reaped_at_once(make: Maker) -> None:
    a, b = await make("a", lease_ttl=60.0, renew_every=0.3), await make("b")
    await fill(a, ROOM, "a1")
    await a.crash()
    await eventually(lambda: b.confident, "confident")
    await b.expire(a.incarnation)
    await gone(b, "a1", scope=ROOM)


async def test_newborn_reaps_at_once_what_was_ended_and_nobody_whose_lease_ran_out(make: Maker, ear: Ear) -> None:
    """As when all instances died together: nobody is left with an unbroken lease of its own."""
    a, b = await make("a", lease_ttl=60.0), await make("b")
    await fill(a, ROOM, "a1")
    await fill(b, ROOM, "b1")
    await a.crash()
    await b.crash()
    c = await make("c", lease_ttl=60.0, renew_every=0.3)
    await c.expire(a.incarnation)
    await gone(c, "a1", scope=ROOM)
    await passes(2 * TTL)
    assert await c.members(ROOM) == {"b1": b"b1"}
    assert ear.leaves == {(ROOM, b"a1"): 1}


async def test_expiring_a_living_instance_harms_nobody(make: Maker, ear: Ear) -> None:
    a, b = await make("a"), await make("b", reap_every=60.0)
    await fill(a, ROOM, "a1")
    before = a.incarnation
    await b.expire(before)

    async def held() -> bool:
        return before in [one["incarnation"] for one in await b.instances()]

    await eventually(held, "renewed")
    assert a.incarnation == before and a.fencings == 0
    assert not ear.leaves


async def test_restarted_instance_does_not_revive_its_predecessor(make: Maker, ear: Ear) -> None:
    a = await make("a")
    await fill(a, ROOM, "a1")
    await a.crash()
    again = await make("a")
    assert again.incarnation != a.incarnation
    await fill(again, ROOM, "a2")
    await gone(again, "a1", scope=ROOM)
    assert await again.members(ROOM) == {"a2": b"a2"}
    assert ear.leaves == {(ROOM, b"a1"): 1}


async def test_instance_paused_beyond_its_lease_is_fenced_with_one_leave_each(make: Maker, ear: Ear) -> None:
    a, b = await make("a"), await make("b")
    await fill(a, ROOM, "a1", "a2")
    await fill(b, ROOM, "b1")
    before = a.incarnation
    await a.freeze()
    await gone(b, "a1", "a2", scope=ROOM)
    a.thaw()
    await eventually(lambda: a.fencings == 1 and a.alive, "fenced and living again")
    assert a.incarnation != before
    assert not await a.remove(ROOM, "a1")
    assert not await a.remove(ROOM, "a2")
    await fill(a, ROOM, "a3")
    await passes(2 * TTL)
    assert await b.members(ROOM) == {"b1": b"b1", "a3": b"a3"}
    assert ear.leaves == {(ROOM, b"a1"): 1, (ROOM, b"a2"): 1}
    assert ear.joins == {(ROOM, info): 1 for info in (b"a1", b"a2", b"a3", b"b1")}
    assert (a.fencings, b.fencings) == (1, 0)


@pytest.mark.parametrize("scope", [ROOM, OTHER], ids=["known scope", "new scope"])
async def test_paused_instance_can_enter_nobody_after_it_was_reaped(make: Maker, ear: Ear, scope: str) -> None:
    a, b = await make("a"), await make("b")
    await fill(a, ROOM, "a1")
    await a.freeze()
    await gone(b, "a1", scope=ROOM)
    with pytest.raises(Fenced):
        await a.add(scope, "late", "ann", b"late")
    assert await b.stats(scope) == (0, 0)
    await eventually(lambda: a.fencings == 1, "fenced by the add itself")
    assert (scope, b"late") not in ear.joins


async def test_paused_instance_cannot_remove_what_was_reaped_once_more(make: Maker, ear: Ear) -> None:
    a, b = await make("a"), await make("b")
    await fill(a, ROOM, "a1")
    await a.freeze()
    await gone(b, "a1", scope=ROOM)
    assert not await a.remove(ROOM, "a1")
    await eventually(lambda: a.fencings == 1, "fenced by the remove itself")
    assert ear.leaves == {(ROOM, b"a1"): 1}


async def test_pause_shorter_than_the_lease_changes_nothing(make: Maker, ear: Ear) -> None:
    a, b = await make("a", lease_ttl=3.0), await make("b")
    await fill(a, ROOM, "a1")
    before = a.incarnation
    await a.freeze()
    await passes(1.0)
    a.thaw()
    await passes(2.5)
    assert a.incarnation == before and a.fencings == 0
    assert await b.members(ROOM) == {"a1": b"a1"}
    assert not ear.leaves


async def test_survivor_that_died_midway_is_replaced(
    make: Maker, ear: Ear, server: PrivateRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = await make("a"), await make("b")
    rooms = [f"c:{number}" for number in range(200)]
    for room in rooms:
        await fill(a, room, "a1")
    c = await make("c")
    await eventually(lambda: b.confident and c.confident, "confident")
    await a.crash()
    first: list[Instance] = []
    forget = Leases.forget

    async def dies(self: Leases, *arguments: object) -> int:
        """After the first batch, before that is crossed off."""
        owner = b if self is b._leases else c
        if not first:
            first.append(owner)
        if owner is first[0]:
            raise StoreUnavailable("killed")
        return await forget(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Leases, "forget", dies)
    await eventually(lambda: bool(first), "one began")
    await first[0].crash()
    survivor = c if first[0] is b else b
    await eventually(lambda: not server.client().zscore(keys.leases(), a.incarnation), "the other finished")
    assert ear.leaves == {(room, b"a1"): 1 for room in rooms}
    told = [one.scope for who in (b, c) for one in who.reaped]
    assert len(set(told)) == len(told)
    # on several shards it dies at once, having done what it could not say any more
    assert set(told) == set(rooms) or cluster_process.CHOSEN
    assert survivor.fencings == 0


async def test_stop_removes_everything_at_once_and_gives_the_lease_back(
    make: Maker, ear: Ear, server: PrivateRedis
) -> None:
    a, b = await make("a"), await make("b")
    clients = [f"a{number}" for number in range(1100)]
    await fill(a, ROOM, *clients)
    await fill(a, "u:ann", "a1")
    await a.stop()
    assert await b.stats(ROOM) == (0, 0)
    assert await b.stats("u:ann") == (0, 0)
    assert [one["incarnation"] for one in await b.instances()] == [b.incarnation]
    assert sum(ear.leaves.values()) == 1101
    assert not a.alive
    with pytest.raises(StoreUnavailable):
        await a.add(ROOM, "late", "ann", b"")
    await passes(TTL)
    assert b.reaped == []
    assert without_ttl(server) == []


async def test_stop_without_redis_is_quick_and_leaves_the_work_to_the_others(
    make: Maker, server: PrivateRedis, ear: Ear
) -> None:
    a, b = await make("a"), await make("b")
    await fill(a, ROOM, "a1")
    server.pause()
    async with asyncio.timeout(5):
        await a.stop()
    server.resume()
    await gone(b, "a1", scope=ROOM)
    assert ear.leaves == {(ROOM, b"a1"): 1}


async def test_instances_say_what_they_are(make: Maker) -> None:
    a, b = await make("a"), await make("b")
    told = sorted((one["instance"], one["incarnation"]) for one in await a.instances())
    assert told == [("a", a.incarnation), ("b", b.incarnation)]
