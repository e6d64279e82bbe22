"""Entries on a real Redis: what is counted, announced, and when it expires."""

from collections.abc import Awaitable
from typing import Any

import pytest

from flotilla.presence import Full, keys
from flotilla.store import Script
from flotilla.store.shards import Shard
from tests.presence.cluster import Ear, Maker, PrivateRedis, drifted, eventually, of_names, unbin, without_ttl
from tests.store import cluster_process

pytestmark = pytest.mark.asyncio

ROOM = "c:room"


async def test_first_and_last_connection_of_a_user_are_told(make: Maker) -> None:
    a, b = await make("a"), await make("b")
    assert await a.add(ROOM, "c1", "ann", b"{}")
    assert not await b.add(ROOM, "c2", "ann", b"{}")
    assert await b.add(ROOM, "c3", "bob", b"{}")
    assert await a.stats(ROOM) == (3, 2)
    assert not await a.remove(ROOM, "c1")
    assert await b.remove(ROOM, "c2")
    assert await a.members(ROOM) == {"c3": b"{}"}


async def test_join_and_leave_are_announced_once_whatever_is_repeated(make: Maker, ear: Ear) -> None:
    a = await make("a")
    assert await a.add(ROOM, "c1", "ann", b"1")
    assert not await a.add(ROOM, "c1", "ann", b"1")
    assert await a.stats(ROOM) == (1, 1)
    assert await a.remove(ROOM, "c1")
    assert not await a.remove(ROOM, "c1")
    assert ear.joins == {(ROOM, b"1"): 1}
    assert ear.leaves == {(ROOM, b"1"): 1}


async def test_connection_enters_in_one_round_trip(
    make: Maker, server: PrivateRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first in a scope too, which is noted then; in a cluster, where that has another slot, it is noted before."""
    a = await make("a")
    ran: list[str] = []
    run = Shard.run

    def noting(shard: Shard, script: Script, *rest: Any) -> Awaitable[Any]:
        ran.append(script.name)
        return run(shard, script, *rest)

    monkeypatch.setattr(Shard, "run", noting)
    for client in ("c1", "c2"):
        await a.add(ROOM, client, "ann", b"")
    entering = [name.removeprefix("flotilla.presence.") for name in ran]
    expected = ["register", "add", "add"] if cluster_process.CHOSEN else ["enter", "add"]
    assert [name for name in entering if name in ("register", "add", "enter")] == expected
    with server.client() as redis:
        assert redis.smembers(keys.registered(a.incarnation)) == {ROOM.encode()}


async def test_scope_on_another_redis_is_noted_on_the_first(
    make: Maker, server: PrivateRedis, second_server: PrivateRedis
) -> None:
    a = await make("a", urls=[server.url, second_server.url])
    scopes = [f"c:{number}" for number in range(8)]
    for scope in scopes:
        assert await a.add(scope, "c1", "ann", b"")
    with server.client() as redis, second_server.client() as second:
        assert redis.smembers(keys.registered(a.incarnation)) == {scope.encode() for scope in scopes}
        assert second.keys("*p*c*") and not second.keys(keys.registered("*"))


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65535, 65536, 70000])
async def test_info_travels_byte_exact_at_every_header_size(make: Maker, ear: Ear, size: int) -> None:
    a = await make("a")
    info = bytes(i % 256 for i in range(size))
    await a.add(ROOM, "c1", "ann", info)
    await a.remove(ROOM, "c1")
    ear.listen()
    assert [(data[:1], unbin(data[1:])) for _, data in ear.raw] == [(b"J", info), (b"L", info)]


@pytest.mark.parametrize("user", ["", "\n", "3\n", "a}b{c", "日本", "x" * 300, "\x00"])
async def test_any_user_id_is_kept_apart_from_the_info(make: Maker, server: PrivateRedis, user: str) -> None:
    a = await make("a")
    assert await a.add(ROOM, "c1", user, b"5\n{}")
    assert not await a.add(ROOM, "c2", user, b"\n")
    assert await a.members(ROOM) == {"c1": b"5\n{}", "c2": b"\n"}
    assert drifted(server) == []
    assert not await a.remove(ROOM, "c1")
    assert await a.remove(ROOM, "c2")
    assert await a.stats(ROOM) == (0, 0)


@pytest.mark.parametrize(("scope", "client", "user"), [("x:y", "c", "u"), (ROOM, "\ud800", "u"), (ROOM, "c", "\udfff")])
async def test_unwritable_names_are_refused_before_they_are_booked(
    make: Maker, scope: str, client: str, user: str
) -> None:
    a = await make("a")
    with pytest.raises(ValueError):
        await a.add(scope, client, user, b"")
    assert a.settled
    assert await a.add(ROOM, "c1", "u", b"")


async def test_channel_named_like_a_users_scope_is_another_scope(make: Maker) -> None:
    a = await make("a")
    await a.add("c:u:ann", "c1", "ann", b"channel")
    await a.add("u:ann", "c2", "ann", b"user")
    assert await a.members("c:u:ann") == {"c1": b"channel"}
    assert await a.members("u:ann") == {"c2": b"user"}


async def test_every_key_has_a_ttl_and_refresh_renews_it(make: Maker, server: PrivateRedis) -> None:
    a = await make("a", key_ttl=3600.0, refresh_every=0.2)
    for client in ("c1", "c2"):
        await a.add(ROOM, client, "ann", b"")
    assert without_ttl(server) == []
    home = keys.home_of(ROOM)
    names = [home.entries, home.users, home.mine(a.incarnation)]
    with server.client() as redis:
        for name in names:
            redis.expire(name, 60)
        await eventually(lambda: all(redis.ttl(name) > 3500 for name in names), "refreshed")
    assert without_ttl(server) == []


async def test_keys_of_a_dead_cluster_are_gone_after_their_ttl(make: Maker, server: PrivateRedis) -> None:
    a = await make("a", key_ttl=1.0)
    await a.add(ROOM, "c1", "ann", b"")
    await a.crash()
    with server.client() as redis:
        await eventually(lambda: not of_names(redis), "everything expired")


async def test_client_taken_over_by_another_incarnation_stays_when_the_first_lets_go(make: Maker, ear: Ear) -> None:
    a, b = await make("a"), await make("b")
    await a.add(ROOM, "c1", "ann", b"1")
    await b.add(ROOM, "c1", "bob", b"2")
    assert await a.stats(ROOM) == (1, 1)
    assert not await a.remove(ROOM, "c1")
    assert await a.members(ROOM) == {"c1": b"2"}
    assert await b.remove(ROOM, "c1")
    assert await a.stats(ROOM) == (0, 0)
    assert ear.leaves == {(ROOM, b"2"): 1}


async def test_vanished_entries_are_put_back_by_the_refresh(make: Maker, server: PrivateRedis) -> None:
    a = await make("a", refresh_every=0.2)
    await a.add(ROOM, "c1", "ann", b"1")
    home = keys.home_of(ROOM)
    with server.client() as redis:
        redis.delete(*home.of(a.incarnation))

    async def back() -> bool:
        return await a.members(ROOM) == {"c1": b"1"}

    await eventually(back, "put back")


async def test_a_scope_that_is_full_takes_nobody_more(make: Maker, ear: Ear) -> None:
    a, b = await make("a"), await make("b")
    await a.add(ROOM, "c1", "ann", b"1", most=2)
    await b.add(ROOM, "c2", "ann", b"2", most=2)
    for instance in (a, b):
        with pytest.raises(Full):
            await instance.add(ROOM, "c3", "ann", b"3", most=2)
    await a.add(ROOM, "c1", "ann", b"1", most=2)  # it is there: nothing is added
    assert await a.stats(ROOM) == (2, 1)
    assert ear.joins == {(ROOM, b"1"): 1, (ROOM, b"2"): 1}
    holders = {holder.client: (holder.incarnation, holder.info) for holder in await a.holders(ROOM)}
    assert holders == {"c1": (a.incarnation, b"1"), "c2": (b.incarnation, b"2")}
    await b.remove(ROOM, "c2")
    await a.add(ROOM, "c3", "ann", b"3", most=2)
