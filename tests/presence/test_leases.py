"""Leases on a real Redis: every order in which a paused process and a reaper can meet."""

import pytest

from flotilla.presence import Fenced, Full
from flotilla.presence.entries import Entries, Leaving, Named
from flotilla.presence.leases import LeaseMissing, Leases, Renewal, Renewals, alive_sync, expire_sync
from flotilla.store import Store, StoreUnavailable
from tests.presence.cluster import PrivateRedis, announce, drifted, eventually
from tests.store import cluster_process

pytestmark = pytest.mark.asyncio

ROOM = "c:room"
LONG = 60.0
ENTRY = Named("c1", "ann", b"1")


@pytest.fixture
def leases(store: Store) -> Leases:
    return Leases(store, ttl=LONG, key_ttl=3600)


@pytest.fixture
def entries(store: Store) -> Entries:
    return Entries(store, announce, 3600)


async def lease_of(leases: Leases, *names: str) -> list[Renewals]:
    taken = [Renewals(name) for name in names]
    for renewals in taken:
        assert await leases.renew(renewals, {"pid": 1}) is Renewal.MISSING
    return taken


async def noted(leases: Leases, incarnation: str) -> list[str]:
    return [scope async for page in leases.registered(incarnation) for scope in page]


async def test_first_renewal_takes_the_lease_and_later_ones_hold_it(leases: Leases) -> None:
    [renewals] = await lease_of(leases, "p")
    assert await leases.renew(renewals, {}) is Renewal.HELD
    assert await leases.dead("p") == (True, {})


async def test_renewal_after_expiry_without_tombstone_takes_it_again(leases: Leases) -> None:
    [renewals] = await lease_of(leases, "p")
    await leases.expire("p")
    assert await leases.renew(renewals, {}) is Renewal.MISSING
    assert await leases.renew(renewals, {}) is Renewal.HELD


async def test_renewal_after_burial_is_fenced(leases: Leases) -> None:
    renewals, _ = await lease_of(leases, "p", "r")
    await leases.expire("p")
    assert await leases.bury("r", "p", 1.0)
    assert await leases.renew(renewals, {}) is Renewal.FENCED


async def test_renewal_a_moment_before_the_burial_wins(leases: Leases) -> None:
    renewals, _ = await lease_of(leases, "p", "r")
    await leases.expire("p")
    assert await leases.dead("r") == (True, {"p": True})
    assert await leases.renew(renewals, {}) is Renewal.MISSING
    assert not await leases.bury("r", "p", 1.0)
    assert await leases.renew(renewals, {}) is Renewal.HELD


async def test_reaper_whose_own_lease_is_gone_buries_nobody(leases: Leases) -> None:
    await lease_of(leases, "p", "r")
    await leases.expire("p")
    await leases.expire("r")
    assert await leases.dead("r") == (False, {"p": True, "r": True})
    assert not await leases.bury("r", "p", 1.0)


async def test_buried_reaper_buries_nobody(leases: Leases) -> None:
    await lease_of(leases, "p", "q", "r")
    await leases.expire("p")
    await leases.expire("r")
    assert await leases.bury("q", "r", 1.0)
    assert not await leases.bury("r", "p", 1.0)


async def test_second_reaper_waits_for_the_claim_of_the_first(leases: Leases) -> None:
    await lease_of(leases, "p", "q", "r")
    await leases.expire("p")
    assert await leases.bury("q", "p", 0.2)
    assert not await leases.bury("r", "p", 0.2)
    assert await leases.bury("q", "p", 0.2)
    await eventually(lambda: leases.bury("r", "p", 0.2), "the claim ran out")


async def test_scope_is_refused_without_lease_and_after_burial(leases: Leases) -> None:
    with pytest.raises(LeaseMissing):
        await leases.register("p", 1, [ROOM])
    await lease_of(leases, "p", "r")
    await leases.register("p", 1, [ROOM])
    await leases.expire("p")
    await leases.bury("r", "p", 1.0)
    with pytest.raises(Fenced):
        await leases.register("p", 1, ["c:other"])
    assert await noted(leases, "p") == [ROOM]


one_slot_alone = pytest.mark.skipif(cluster_process.CHOSEN, reason="leases have another slot than a scope there")


@one_slot_alone
async def test_entry_that_notes_its_scope_is_refused_without_lease_and_after_burial(
    leases: Leases, entries: Entries
) -> None:
    """And then neither of the two is written: no reaper would look there."""
    with pytest.raises(LeaseMissing):
        await entries.add("p", 1, ROOM, ENTRY, register=True)
    await lease_of(leases, "p", "r")
    await leases.expire("p")
    await leases.bury("r", "p", 1.0)
    with pytest.raises(Fenced):
        await entries.add("p", 1, ROOM, ENTRY, register=True)
    assert await entries.stats(ROOM) == (0, 0)
    assert await noted(leases, "p") == []


@one_slot_alone
async def test_entry_that_finds_no_room_leaves_its_scope_noted(leases: Leases, entries: Entries) -> None:
    await lease_of(leases, "p")
    assert await entries.add("p", 1, ROOM, ENTRY, 1, register=True)
    with pytest.raises(Full):
        await entries.add("p", 1, ROOM, Named("c2", "bob", b""), 1, register=True)
    assert await noted(leases, "p") == [ROOM]
    assert await entries.stats(ROOM) == (1, 1)


async def test_entry_registered_before_but_written_after_the_reaping_is_fenced(
    leases: Leases, entries: Entries, server: PrivateRedis
) -> None:
    """register · buried · reaped · forgotten · add: the one order that a lease alone does not catch."""
    await lease_of(leases, "p", "r")
    await leases.register("p", 1, [ROOM])
    await leases.expire("p")
    await leases.bury("r", "p", 1.0)
    assert await entries.reap("p", ROOM) == (0, [])
    assert await leases.forget("p", [ROOM]) == 0
    with pytest.raises(Fenced):
        await entries.add("p", 1, ROOM, ENTRY)
    with pytest.raises(Fenced):
        await entries.put_back("p", 9, ROOM, [ENTRY], others=True)
    assert await entries.stats(ROOM) == (0, 0)


async def test_entry_written_between_burial_and_reaping_is_reaped_with_the_rest(
    leases: Leases, entries: Entries
) -> None:
    """register · buried · add · reaped."""
    await lease_of(leases, "p", "r")
    await leases.register("p", 1, [ROOM])
    await leases.expire("p")
    await leases.bury("r", "p", 1.0)
    assert await entries.add("p", 1, ROOM, ENTRY)
    left, removed = await entries.reap("p", ROOM)
    assert (left, [entry.client for entry in removed]) == (0, ["c1"])
    assert await entries.stats(ROOM) == (0, 0)


async def test_late_remove_of_a_reaped_entry_is_no_second_leave(leases: Leases, entries: Entries) -> None:
    await lease_of(leases, "p", "r")
    await entries.add("p", 1, ROOM, ENTRY)
    await entries.reap("p", ROOM)
    with pytest.raises(Fenced):
        await entries.drop("p", 1, ROOM, [Leaving("c1")])


async def test_incarnation_with_scopes_left_or_without_tombstone_is_not_forgotten(leases: Leases) -> None:
    await lease_of(leases, "p", "r")
    await leases.register("p", 1, [ROOM, "c:other"])
    await leases.expire("p")
    await leases.bury("r", "p", 1.0)
    assert await leases.forget("p", [ROOM]) == 1
    assert await leases.known() == {"p", "r"}
    assert await leases.forget("p", ["c:other"]) == 0
    assert await leases.known() == {"r"}
    assert await leases.forget("r", []) == 0
    assert await leases.known() == {"r"}


async def test_large_scope_is_reaped_in_bounded_calls(leases: Leases, entries: Entries, server: PrivateRedis) -> None:
    for number in range(1200):
        await entries.add("p", 1, ROOM, Named(f"c{number}", f"u{number % 700}", b""))
    sizes, gone = [], 0
    left = 1
    while left:
        left, removed = await entries.reap("p", ROOM)
        sizes.append(len(removed))
        gone += sum(entry.last for entry in removed)
        assert drifted(server) == []
    assert sizes == [500, 500, 200]
    assert gone == 700
    assert await entries.stats(ROOM) == (0, 0)


async def test_write_given_up_before_the_scope_was_put_right_is_refused_when_redis_finds_it_late(
    entries: Entries, leases: Leases
) -> None:
    await entries.add("p", 1, ROOM, ENTRY)
    assert await entries.put_back("p", 2, ROOM, [ENTRY], others=True) == []
    with pytest.raises(StoreUnavailable):
        await entries.add("p", 1, ROOM, Named("late", "ann", b""))
    with pytest.raises(StoreUnavailable):
        await entries.drop("p", 1, ROOM, [Leaving("c1")])
    with pytest.raises(StoreUnavailable):
        await entries.put_back("p", 1, ROOM, [], others=True)
    assert await entries.members(ROOM) == {"c1": b"1"}
    await lease_of(leases, "p")
    await leases.register("p", 2, [ROOM])
    with pytest.raises(StoreUnavailable):
        await leases.unregister("p", 1, [ROOM])
    assert await noted(leases, "p") == [ROOM]


async def test_entries_put_back_replace_what_an_older_state_says(entries: Entries, server: PrivateRedis) -> None:
    await entries.add("p", 1, ROOM, ENTRY)
    await entries.add("p", 1, ROOM, Named("gone", "ann", b""))
    extra = await entries.put_back("p", 2, ROOM, [Named("c1", "bob", b"2"), Named("c2", "bob", b"3")], others=True)
    assert extra == ["gone"]
    gone = [Leaving(client) for client in extra]
    assert [(entry.client, entry.last) for entry in await entries.drop("p", 2, ROOM, gone)] == [("gone", True)]
    assert await entries.members(ROOM) == {"c1": b"2", "c2": b"3"}
    assert await entries.stats(ROOM) == (2, 1)
    assert drifted(server) == []


async def test_silence_longer_than_tombstones_live_gives_the_incarnation_up(leases: Leases) -> None:
    [renewals] = await lease_of(leases, "p")
    await leases.expire("p")
    renewals.redis_ms -= 3600 * 1000
    assert await leases.renew(renewals, {}) is Renewal.FENCED
    assert await leases.renew(renewals, {}) is Renewal.FENCED
    assert await leases.known() == {"p"}


async def test_older_state_of_redis_is_noticed_by_the_number_of_renewals(leases: Leases) -> None:
    [renewals] = await lease_of(leases, "p")
    assert await leases.renew(renewals, {}) is Renewal.HELD
    renewals.answered += 5
    assert await leases.renew(renewals, {}) is Renewal.OLDER


async def test_unknown_incarnation_is_handed_to_the_reapers_but_never_a_living_one(leases: Leases) -> None:
    await lease_of(leases, "p", "r")
    assert not await leases.adopt("r", "p", ROOM)
    assert not await leases.adopt("nobody", "ghost", ROOM)
    assert await leases.adopt("r", "ghost", ROOM)
    assert await leases.dead("r") == (True, {"ghost": False})
    assert await noted(leases, "ghost") == [ROOM]


async def test_supervisor_sees_who_lives_and_ends_a_lease(leases: Leases, store: Store) -> None:
    await lease_of(leases, "p", "r")
    told = [{"pid": 1, "incarnation": "p"}, {"pid": 1, "incarnation": "r"}]
    assert sorted(alive_sync(store), key=str) == told
    assert sorted(await leases.alive(), key=str) == told
    expire_sync(store, "p")
    expire_sync(store, "never-heard-of")
    assert alive_sync(store) == told[1:]
    assert await leases.dead("r") == (True, {"p": True})
