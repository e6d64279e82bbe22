"""One process's own entries: the order of adds and removals, what is given up, cancelled or repeated."""

import asyncio
from typing import Any

import pytest

from flotilla.presence import keys
from flotilla.presence.entries import Entries, Removed
from flotilla.store import StoreUnavailable
from tests.presence.cluster import Ear, Maker, PrivateRedis, eventually, fill, gone

pytestmark = pytest.mark.asyncio

ROOM = "c:room"


async def test_remove_during_the_add_comes_after_it(make: Maker, ear: Ear) -> None:
    a = await make("a")
    adding = asyncio.create_task(a.add(ROOM, "c1", "ann", b"1"))
    await asyncio.sleep(0)
    assert await a.remove(ROOM, "c1")
    assert await adding
    assert await a.stats(ROOM) == (0, 0)
    assert ear.joins == ear.leaves == {(ROOM, b"1"): 1}


async def test_what_is_asked_about_one_connection_happens_in_that_order(make: Maker, ear: Ear) -> None:
    a = await make("a")
    asked = []
    for number in range(20):
        asked.append(asyncio.create_task(a.add(ROOM, "c1", "ann", b"1")))
        await asyncio.sleep(0)
        if number < 19:
            a.remove(ROOM, "c1")
    await asyncio.gather(*asked)
    assert await a.members(ROOM) == {"c1": b"1"}
    assert ear.joins == {(ROOM, b"1"): 20} and ear.leaves == {(ROOM, b"1"): 19}
    await eventually(lambda: not a.busy, "nothing is kept of it")


async def test_add_given_up_while_it_waited_lets_nothing_overtake(make: Maker, ear: Ear) -> None:
    a = await make("a")
    await a.add(ROOM, "c1", "ann", b"1")
    a.remove(ROOM, "c1")
    given_up = asyncio.create_task(a.add(ROOM, "c1", "ann", b"given up"))
    await asyncio.sleep(0)
    given_up.cancel()
    assert await a.add(ROOM, "c1", "ann", b"2")
    assert await a.members(ROOM) == {"c1": b"2"}
    assert ear.joins == {(ROOM, b"1"): 1, (ROOM, b"2"): 1} and ear.leaves == {(ROOM, b"1"): 1}


async def test_add_after_a_remove_that_redis_did_not_answer_is_present(
    make: Maker, server: PrivateRedis, ear: Ear
) -> None:
    a = await make("a")
    await a.add(ROOM, "c1", "ann", b"1")
    server.pause()
    a.remove(ROOM, "c1")
    adding = asyncio.create_task(a.add(ROOM, "c1", "ann", b"1"))
    await eventually(lambda: bool(a._current.doubted) or adding.done(), "given up")
    server.resume()
    entered = await asyncio.gather(adding, return_exceptions=True)
    while isinstance(entered[0], StoreUnavailable):
        entered = await asyncio.gather(a.add(ROOM, "c1", "ann", b"1"), return_exceptions=True)
    await eventually(lambda: a.settled and not a.busy, "settled")
    assert await a.members(ROOM) == {"c1": b"1"}


async def test_cancelled_add_leaves_nothing_behind(make: Maker, ear: Ear) -> None:
    a = await make("a")
    await a.add(ROOM, "c0", "ann", b"0")
    adding = asyncio.create_task(a.add(ROOM, "c1", "ann", b"1"))
    await asyncio.sleep(0)
    adding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await adding
    await eventually(lambda: a.settled and not a.busy, "settled")
    assert await a.members(ROOM) == {"c0": b"0"}
    assert ear.joins[ROOM, b"1"] == ear.leaves[ROOM, b"1"]


async def test_cancelled_remove_is_carried_out(make: Maker) -> None:
    a = await make("a")
    await a.add(ROOM, "c0", "ann", b"0")
    removing = a.remove(ROOM, "c0")
    await asyncio.sleep(0)
    removing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await removing
    await gone(a, "c0", scope=ROOM)


async def test_left_scope_is_forgotten_here_and_in_redis(make: Maker, server: PrivateRedis) -> None:
    a = await make("a", renew_every=0.05)
    await fill(a, ROOM, "a1")
    await a.remove(ROOM, "a1")
    with server.client() as redis:
        await eventually(lambda: not redis.exists(keys.registered(a.incarnation)), "unregistered")
    assert a._current.records == {}
    await fill(a, ROOM, "a1")
    with server.client() as redis:
        assert redis.smembers(keys.registered(a.incarnation)) == {ROOM.encode()}


async def test_many_adds_of_one_turn_share_few_writes(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    a = await make("a", lease_ttl=60.0, renew_every=20.0)  # a lease that is lost meanwhile would be written again
    link = next(iter(a.store.first._links.values()))
    assert link._connection is not None
    writes: list[int] = []
    send = link._connection.send_packed_command

    async def counted(command: list[bytes], **options: bool) -> None:
        writes.append(len(command))
        await send(command, **options)

    monkeypatch.setattr(link._connection, "send_packed_command", counted)
    await asyncio.gather(*(a.add(ROOM, f"c{number}", "ann", b"") for number in range(300)))
    assert await a.stats(ROOM) == (300, 1)
    assert len(writes) < 15


async def test_remove_that_failed_once_is_repeated_though_nothing_else_was_wrong(
    make: Maker, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = await make("a", lease_ttl=60.0, renew_every=20.0)
    await fill(a, ROOM, "a1", "a2")
    drop, failures = Entries.drop, [StoreUnavailable("no answer")]

    async def fails_once(self: Entries, *arguments: Any) -> list[Removed]:
        if failures:
            raise failures.pop()
        return await drop(self, *arguments)

    monkeypatch.setattr(Entries, "drop", fails_once)
    assert not await a.remove(ROOM, "a1")
    await gone(a, "a1", scope=ROOM)
    assert await a.members(ROOM) == {"a2": b"a2"}
    assert ear.leaves == {(ROOM, b"a1"): 1}
