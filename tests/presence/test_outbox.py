"""Events for other services, and joins told per user: exact under races, repeats and deaths."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable

import msgspec
import pytest

from flotilla.presence import Announcement
from flotilla.presence.keys import home_of
from flotilla.presence.outbox import KINDS, Queue, outbox_for, part_keys
from tests.presence.cluster import Ear, Instance, Maker, PrivateRedis, eventually, gone, passes, without_ttl

pytestmark = pytest.mark.asyncio

ROOM = "c:room"
ALL = "".join(KINDS.values())
PER_USER = Announcement("topic/c:room", b"J", b"L", per_user=True)


def keeping(*queues: Queue) -> Callable[[str], Announcement]:
    """Has every scope's events kept."""

    def announce(scope: str) -> Announcement:
        return Announcement(outbox=outbox_for(scope, home_of(scope).placement, queues))

    return announce


def queue(name: str = "q", kinds: str = ALL, most: int = 1000, most_bytes: int = 1_000_000) -> Queue:
    return Queue(name, kinds, most, most_bytes, 60)


def kept(server: PrivateRedis, scope: str, name: str = "q") -> list[list[object]]:
    """What is in a queue about a scope's partition: kind, channel, user, client, instance, cause."""
    key, _ = part_keys(name, home_of(scope).placement)
    with server.client() as client:
        found = [msgspec.msgpack.decode(raw) for raw in client.lrange(key, 0, -1)]
    assert [one[0] for one in found] == list(range(found[0][0], found[0][0] + len(found))) if found else True
    return [one[2:] for one in found]


def about(server: PrivateRedis, scope: str, name: str = "q") -> dict[bytes, bytes]:
    _, key = part_keys(name, home_of(scope).placement)
    with server.client() as client:
        found: dict[bytes, bytes] = client.hgetall(key)
        return found


async def test_a_channel_tells_who_comes_and_goes_in_order(make: Maker, server: PrivateRedis) -> None:
    a, b = await make("a", announce=keeping(queue())), await make("b", announce=keeping(queue()))
    await a.add(ROOM, "c1", "ann", b"{}")
    await a.add(ROOM, "c1", "ann", b"{}")
    await b.add(ROOM, "c2", "ann", b"{}")
    await a.remove(ROOM, "c1")
    await b.remove(ROOM, "c2")
    await b.remove(ROOM, "c2")
    assert [one[0] for one in kept(server, ROOM)] == list("osj") + list("s") + list("u") + list("ulv")
    assert kept(server, ROOM)[1] == ["s", "room", "ann", "c1", "a", ""]
    assert kept(server, ROOM)[-1] == ["v", "room", "", "", "b", ""]
    assert without_ttl(server) == []


async def test_a_user_tells_its_connections_and_why_they_ended(make: Maker, server: PrivateRedis) -> None:
    a = await make("a", announce=keeping(queue()))
    await a.add("u:ann", "c1", "ann", b"")
    await a.add("u:ann", "c2", "ann", b"")
    await a.remove("u:ann", "c1", cause=b'{"code":3000}')
    await a.remove("u:ann", "c2", b"note", b'{"code":1006}')
    found = kept(server, "u:ann")
    assert [one[0] for one in found] == list("cncddf")
    assert [one[5] for one in found if one[0] == "d"] == ['{"code":3000}', '{"code":1006}']


async def test_visitors_are_no_users(make: Maker, server: PrivateRedis) -> None:
    a = await make("a", announce=keeping(queue()))
    await a.add("u:", "c1", "", b"")
    await a.add(ROOM, "c1", "", b"")
    await a.remove(ROOM, "c1")
    await a.remove("u:", "c1")
    assert [one[0] for one in kept(server, "u:")] == list("cd")
    assert [one[0] for one in kept(server, ROOM)] == list("osuv")


async def test_of_a_dead_instance_each_end_is_told_once(make: Maker, server: PrivateRedis) -> None:
    options = {"announce": keeping(queue()), "lost_cause": b'{"code":3000,"reason":"instance lost"}'}
    a, b, c = await make("a", **options), await make("b", **options), await make("c", **options)
    for number in range(5):
        await a.add(ROOM, f"c{number}", "ann", b"")
        await a.add("u:ann", f"c{number}", "ann", b"")
    await b.add(ROOM, "d", "ann", b"")
    await eventually(lambda: b.confident and c.confident)
    await a.crash()
    await gone(b, *(f"c{number}" for number in range(5)), scope=ROOM)
    await gone(b, *(f"c{number}" for number in range(5)), scope="u:ann")
    in_room = [one for one in kept(server, ROOM) if one[0] in "ulv"]
    assert sorted(str(one[3]) for one in in_room) == [f"c{number}" for number in range(5)]
    assert {one[0] for one in in_room} == {"u"}, "the user and the room are still there"
    ends = [one for one in kept(server, "u:ann") if one[0] in "df"]
    assert [one[0] for one in ends] == list("dddddf")
    assert {one[5] for one in ends if one[0] == "d"} == {'{"code":3000,"reason":"instance lost"}'}
    assert {one[4] for one in ends} == {"a"}


async def test_each_queue_gets_what_it_wants(make: Maker, server: PrivateRedis) -> None:
    a = await make("a", announce=keeping(queue("one", "ov"), queue("two", "s")))
    await a.add(ROOM, "c1", "ann", b"")
    await a.remove(ROOM, "c1")
    assert [one[0] for one in kept(server, ROOM, "one")] == ["o", "v"]
    assert [one[0] for one in kept(server, ROOM, "two")] == ["s"]


async def test_too_many_events_drop_the_oldest_and_are_counted(make: Maker, server: PrivateRedis) -> None:
    a = await make("a", announce=keeping(queue(kinds="s", most=3)))
    for number in range(10):
        await a.add(ROOM, f"c{number}", "ann", b"")
    assert [one[3] for one in kept(server, ROOM)] == ["c7", "c8", "c9"]
    assert about(server, ROOM)[b"dropped"] == b"7"


async def test_too_many_bytes_drop_the_oldest(make: Maker, server: PrivateRedis) -> None:
    a = await make("a", announce=keeping(queue(kinds="s", most_bytes=5000)))
    for number in range(10):
        await a.add(ROOM, f"c{number}", "x" * 1000, b"")
    assert [one[3] for one in kept(server, ROOM)] == ["c6", "c7", "c8", "c9"]
    assert 0 < int(about(server, ROOM)[b"bytes"]) <= 5000
    await a.add(ROOM, "huge", "x" * 10_000, b"")
    assert kept(server, ROOM) == []
    assert int(about(server, ROOM)[b"bytes"]) == 0


async def test_nothing_is_kept_where_nobody_wants_it(make: Maker, server: PrivateRedis) -> None:
    a = await make("a")
    await a.add(ROOM, "c1", "ann", b"")
    await a.remove(ROOM, "c1")
    with server.client() as client:
        assert not list(client.scan_iter(match="flotilla:p[ef]-*"))


# Joins and leaves per user


async def two(make: Maker) -> tuple[Instance, Instance]:
    def per_user(scope: str) -> Announcement:
        return Announcement(f"topic/{scope}", b"J", b"L", per_user=True)

    return await make("a", announce=per_user), await make("b", announce=per_user)


async def test_a_user_joins_once_and_leaves_once(make: Maker, ear: Ear) -> None:
    a, b = await two(make)
    await a.add(ROOM, "c1", "ann", b"c1")
    await b.add(ROOM, "c2", "ann", b"c2")
    await a.add(ROOM, "c3", "bob", b"c3")
    await a.remove(ROOM, "c1")
    assert ear.joins == {(ROOM, b"c1"): 1, (ROOM, b"c3"): 1}
    assert not ear.leaves
    await b.remove(ROOM, "c2")
    assert ear.leaves == {(ROOM, b"c2"): 1}


async def test_each_visitor_joins_and_leaves(make: Maker, ear: Ear) -> None:
    a, b = await two(make)
    await a.add(ROOM, "c1", "", b"c1")
    await b.add(ROOM, "c2", "", b"c2")
    await a.remove(ROOM, "c1")
    await b.remove(ROOM, "c2")
    assert ear.joins == ear.leaves == {(ROOM, b"c1"): 1, (ROOM, b"c2"): 1}


async def test_a_user_whose_instance_died_leaves_with_its_last_connection(make: Maker, ear: Ear) -> None:
    a, b = await two(make)
    await a.add(ROOM, "c1", "ann", b"c1")
    await a.add(ROOM, "c2", "ann", b"c2")
    await a.add(ROOM, "c3", "bob", b"c3")
    await b.add(ROOM, "c4", "bob", b"c4")
    await eventually(lambda: b.confident)
    await a.crash()
    await gone(b, "c1", "c2", "c3", scope=ROOM)
    leaves = ear.leaves
    assert sum(leaves.values()) == 1 and not leaves[ROOM, b"c3"], "bob is still there"
    await b.remove(ROOM, "c4")
    assert ear.leaves[ROOM, b"c4"] == 1


async def test_under_races_a_users_joins_and_leaves_alternate(make: Maker, ear: Ear) -> None:
    """As they go out, whatever order the connections of two instances come and go in."""
    a, b = await two(make)
    chance = random.Random(7)

    async def bounce(instance: Instance, client: str, user: str) -> None:
        for _ in range(15):
            await instance.add(ROOM, client, user, user.encode())
            if chance.random() < 0.5:
                await asyncio.sleep(0)
            await instance.remove(ROOM, client)

    users = ("ann", "bob")
    await asyncio.gather(
        *(bounce(one, f"{one.incarnation}-{user}-{n}", user) for one in (a, b) for user in users for n in range(4))
    )
    ear.listen()
    seen: dict[bytes, list[bytes]] = defaultdict(list)
    for _, data in ear.raw:
        seen[data[3:]].append(data[:1])
    for user in users:
        told = seen[user.encode()]
        assert told == [b"J", b"L"] * (len(told) // 2) and told
    await passes(0.1)
    assert (await a.stats(ROOM)) == (0, 0)
