"""Ends of connections: told once over all instances, through pauses, deaths, outages and receivers that hang."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from flotilla.presence import ConnectionEnd, connection_ends, keys, receiver_queue
from flotilla.presence.connection_ends import CLAIM
from flotilla.store import StoreUnavailable
from flotilla.store.shards import Shard
from tests.presence.cluster import Instance, Maker, PrivateRedis, eventually, without_ttl

pytestmark = pytest.mark.asyncio

ANN = "u:ann"
LOST, LEFT = b"lost", b"left"


class Told:
    """What receivers were told, in any instance; they hang while `hang` is set."""

    def __init__(self) -> None:
        self.ends: list[tuple[str, bytes]] = []
        self.begun: list[str] = []
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def receive(self, end: ConnectionEnd) -> None:
        self.begun.append(end.client)
        await self.go_on.wait()
        self.ends.append((end.client, end.note))

    @property
    def options(self) -> dict[str, Any]:
        return {"on_end": self.receive, "lost_note": lambda: LOST}

    @property
    def counts(self) -> Counter[str]:
        return Counter(client for client, _ in self.ends)


@pytest.fixture
def told() -> Told:
    return Told()


async def enter(instance: Instance, count: int, scope: str = ANN) -> list[str]:
    names = [f"{scope}-{number}" for number in range(count)]
    await asyncio.gather(*(instance.add(scope, name, scope[2:], b"") for name in names))
    return names


def leave(instance: Instance, names: list[str], scope: str = ANN) -> "list[asyncio.Future[bool]]":
    return [instance.remove(scope, name, LEFT) for name in names]


def noted(server: PrivateRedis) -> list[bytes]:
    """Everything that Redis keeps about ends."""
    with server.client() as client:
        return [key for kind in ("ue", "ul") for key in client.scan_iter(match=f"flotilla:{kind}:*")]


async def forgotten(server: PrivateRedis, incarnation: str) -> None:
    with server.client() as client:
        await eventually(lambda: client.zscore(keys.leases(), incarnation) is None, "forgotten")


async def test_end_is_told_once_by_its_own_instance_and_nothing_is_kept(
    make: Maker, server: PrivateRedis, told: Told
) -> None:
    a, b = await make("a", **told.options), await make("b", **told.options)
    names = await enter(a, 30)
    await asyncio.gather(*leave(a, names))
    await eventually(lambda: not a.busy, "told")
    assert sorted(told.ends) == sorted((name, LEFT) for name in names)
    await eventually(lambda: noted(server) == [], "crossed off")
    assert not b.busy and without_ttl(server) == []


async def test_without_a_note_nothing_is_told(make: Maker, server: PrivateRedis, told: Told) -> None:
    a = await make("a", **told.options)
    names = await enter(a, 3)
    await asyncio.gather(*(a.remove(ANN, name) for name in names))
    await eventually(lambda: not a.busy, "over")
    assert told.ends == [] and noted(server) == []


async def test_end_of_a_connection_that_never_came_in_is_not_told(make: Maker, told: Told) -> None:
    a = await make("a", **told.options)
    assert not await a.remove(ANN, "nobody", LEFT)
    await enter(a, 1)
    assert not await a.remove(ANN, "nobody", LEFT)
    await eventually(lambda: not a.busy, "over")
    assert told.ends == []


@pytest.mark.parametrize("aware", [False, True], ids=["still paused", "on again"])
async def test_who_leaves_while_the_instance_is_paused_beyond_its_lease_is_told_once(
    make: Maker, server: PrivateRedis, told: Told, aware: bool
) -> None:
    a, b = await make("a", **told.options), await make("b", **told.options)
    names = await enter(a, 10)
    dead = a.incarnation
    await a.freeze()
    await forgotten(server, dead)
    if aware:
        a.thaw()
        await eventually(lambda: a.fencings == 1, "fenced")
    await asyncio.gather(*leave(a, names))
    a.thaw()
    await eventually(lambda: not a.busy and not b.busy, "told")
    assert sorted(told.ends) == sorted((name, LOST) for name in names)


async def test_who_leaves_amid_the_reaping_is_told_once(make: Maker, server: PrivateRedis, told: Told) -> None:
    a, b = await make("a", **told.options), await make("b", **told.options)
    rooms = [f"u:{number}" for number in range(150)]
    names = {room: (await enter(a, 1, room))[0] for room in rooms}
    dead = a.incarnation
    await a.freeze()
    await eventually(lambda: bool(b.reaped), "reaping has begun")
    for room, name in names.items():
        a.remove(room, name, LEFT)
        await asyncio.sleep(0)
    a.thaw()
    await forgotten(server, dead)
    await eventually(lambda: not a.busy and not b.busy, "told")
    assert told.counts == dict.fromkeys(names.values(), 1)


@pytest.mark.parametrize("lost", [False, True], ids=["paused", "came back empty"])
async def test_who_leaves_while_redis_is_away_is_told_once_when_it_is_back(
    make: Maker, server: PrivateRedis, told: Told, lost: bool
) -> None:
    a = await make("a", **told.options)
    names = await enter(a, 10)
    server.kill() if lost else server.pause()
    assert not any(await asyncio.gather(*leave(a, names)))
    assert told.ends == []
    server.start() if lost else server.resume()
    await eventually(lambda: a.settled and not a.busy, "told")
    assert sorted(told.ends) == sorted((name, LEFT) for name in names)


async def test_claim_whose_answer_was_lost_is_had_again(
    make: Maker, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = await make("a", **told.options)
    names = await enter(a, 5)
    run, lost = Shard.run, []

    async def loses(shard: Shard, script: Any, *rest: Any) -> Any:
        answer = await run(shard, script, *rest)
        if script is CLAIM and len(lost) < 3:
            lost.append(answer)
            raise StoreUnavailable("no answer")
        return answer

    monkeypatch.setattr(Shard, "run", loses)
    await asyncio.gather(*leave(a, names))
    await eventually(lambda: not a.busy, "told")
    assert lost == [1, 1, 1]
    assert told.counts == dict.fromkeys(names, 1)


async def test_what_the_queue_has_no_room_for_waits_in_redis(
    make: Maker, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver_queue, "MAX_WAITING", 10)
    monkeypatch.setattr(connection_ends, "MAX_FETCHED", 7)
    a = await make("a", **told.options)
    names = await enter(a, 100)
    told.go_on.clear()
    await asyncio.gather(*leave(a, names))
    assert a.receivers.waiting <= 10
    told.go_on.set()
    await eventually(lambda: not a.busy, "told")
    assert told.counts == dict.fromkeys(names, 1)


async def test_ends_that_a_dead_instance_had_no_time_for_are_told_by_another(
    make: Maker, server: PrivateRedis, told: Told
) -> None:
    """But for those in whose very call it died."""
    a, b = await make("a", **told.options), await make("b", **told.options)
    names = await enter(a, 50)
    told.go_on.clear()
    await asyncio.gather(*leave(a, names))
    await eventually(lambda: len(told.begun) == receiver_queue.WORKERS, "some are being told")
    dead, died_with = a.incarnation, set(told.begun)
    await a.crash()
    told.go_on.set()
    await forgotten(server, dead)
    await eventually(lambda: not b.busy, "told")
    assert told.counts == dict.fromkeys(set(names) - died_with, 1)


async def test_survivor_that_died_amid_the_telling_is_replaced(make: Maker, server: PrivateRedis, told: Told) -> None:
    a, b = await make("a", **told.options), await make("b", **told.options)
    names, dead = await enter(a, 60), a.incarnation
    told.go_on.clear()
    await a.crash()
    await eventually(lambda: len(told.begun) == receiver_queue.WORKERS, "some are being told")
    died_with = set(told.begun)
    c = await make("c", **told.options)
    await b.crash()
    told.go_on.set()
    await forgotten(server, dead)
    await eventually(lambda: not c.busy, "told")
    assert told.counts == dict.fromkeys(set(names) - died_with, 1)


async def test_stop_leaves_to_others_what_receivers_have_not_come_to(
    make: Maker, server: PrivateRedis, told: Told
) -> None:
    a, b = await make("a", **told.options), await make("b", **told.options)
    names, dead = await enter(a, 40), a.incarnation
    told.go_on.clear()
    await asyncio.gather(*leave(a, names))
    await eventually(lambda: len(told.begun) == receiver_queue.WORKERS, "some are being told")
    stopping = asyncio.create_task(a.stop(within=0.1))
    await eventually(lambda: a.receivers._halted, "the rest was given up")
    told.go_on.set()
    await stopping
    await forgotten(server, dead)
    await eventually(lambda: not b.busy, "told")
    assert told.counts == dict.fromkeys(names, 1)


async def test_stop_with_quick_receivers_leaves_nothing(make: Maker, server: PrivateRedis, told: Told) -> None:
    a = await make("a", **told.options)
    names = await enter(a, 40)
    leave(a, names)
    await a.stop()
    assert told.counts == dict.fromkeys(names, 1)
    assert noted(server) == []
    with server.client() as client:
        assert client.zscore(keys.leases(), a.incarnation) is None


async def test_receivers_that_hang_do_not_hold_up_the_reaping(make: Maker, server: PrivateRedis, told: Told) -> None:
    a, b = await make("a", **told.options), await make("b", **told.options)
    for number in range(100):
        await enter(a, 1, f"u:{number}")
        await a.add("c:room", f"client-{number}", str(number), b"")
    told.go_on.clear()
    await a.crash()

    async def empty() -> bool:
        rooms = ["c:room", *(f"u:{number}" for number in range(100))]
        return all([await b.stats(room) == (0, 0) for room in rooms])

    await eventually(empty, "all are gone while receivers hang")
    assert told.ends == []
    told.go_on.set()
    await eventually(lambda: len(told.ends) == 100, "all are told in the end")
    assert set(told.counts.values()) == {1}
