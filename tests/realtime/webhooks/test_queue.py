"""An endpoint's queue on a real Redis: who may empty it, and that nothing goes that was not delivered."""

import msgspec
import pytest
import pytest_asyncio

from flotilla.presence.outbox import part_keys
from flotilla.realtime.webhooks.queue import EndpointQueue, Fetched, Superseded
from flotilla.store import Store
from tests.store.places import partitions
from tests.store.redis_process import RedisProcess, until

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def queue(store: Store) -> EndpointQueue:
    return EndpointQueue(store, "crm", "one")


def put(redis: RedisProcess, *users: str, partition: int = 3) -> None:
    """As presence's scripts do."""
    events, about = part_keys("crm", partitions()[partition])
    for user in users:
        number = redis.ask("HINCRBY", about, "number", 1)
        raw = msgspec.msgpack.encode([number, 1_700_000_000_000 + number, "s", "room", user, "c", "i", ""])
        redis.ask("HINCRBY", about, "bytes", len(raw) + 64)
        redis.ask("RPUSH", events, raw)


async def fetched(queue: EndpointQueue, term: int, most: int = 100) -> Fetched:
    (one,) = await queue.fetch(term, [part for part, _ in await queue.filled()], most)
    return one


def users(one: Fetched) -> list[str]:
    return [msgspec.msgpack.decode(raw)[4] for raw in one.events]


async def test_one_holds_the_right_until_it_lets_go(queue: EndpointQueue, store: Store) -> None:
    second = EndpointQueue(store, "crm", "two")
    term = await queue.hold(30)
    assert term > 0 and await queue.hold(30) == term
    assert await second.hold(30) == 0
    await second.let_go()
    assert await second.hold(30) == 0, "it was not the second's to give back"
    await queue.let_go()
    later = await second.hold(30)
    assert later > term
    assert await queue.hold(30) == 0


async def test_the_right_of_one_who_is_gone_runs_out(queue: EndpointQueue, store: Store) -> None:
    second = EndpointQueue(store, "crm", "two")
    term = await queue.hold(0.2)
    assert await until(lambda: second.hold(30)) > term


async def test_terms_grow_also_when_redis_has_lost_them(queue: EndpointQueue, redis_process: RedisProcess) -> None:
    """They are times of Redis's clock, which has gone on."""
    term = await queue.hold(30)
    redis_process.ask("FLUSHALL")

    def later() -> bool:
        seconds, micros = redis_process.ask("TIME")
        return int(seconds) * 1000 + int(micros) // 1000 > term

    await until(later)
    assert await queue.hold(30) > term


async def test_events_stay_until_they_are_acknowledged(queue: EndpointQueue, redis_process: RedisProcess) -> None:
    put(redis_process, "a", "b", "c")
    term = await queue.hold(30)
    ((part, count),) = await queue.filled()
    assert (part.partition, count) == (3, 3)
    first = await fetched(queue, term, most=2)
    assert users(first) == ["a", "b"] and first.first == 1
    assert users(await fetched(queue, term, most=2)) == ["a", "b"]
    await queue.ack(term, [first])
    rest = await fetched(queue, term)
    assert (users(rest), rest.first) == (["c"], 3)
    await queue.ack(term, [rest])
    await queue.ack(term, [rest])
    assert await queue.filled() == []
    _, about = part_keys("crm", partitions()[3])
    assert int(redis_process.ask("HGET", about, "bytes")) == 0


async def test_what_was_dropped_since_the_fetch_is_not_taken_twice(
    queue: EndpointQueue, redis_process: RedisProcess
) -> None:
    put(redis_process, "a", "b", "c", "d")
    events, about = part_keys("crm", partitions()[3])
    term = await queue.hold(30)
    first = await fetched(queue, term, most=2)
    redis_process.ask("LPOP", events)
    redis_process.ask("HINCRBY", about, "dropped", 1)
    await queue.ack(term, [first])
    rest = await fetched(queue, term)
    assert (users(rest), rest.first, rest.dropped) == (["c", "d"], 3, 1)
    assert (await fetched(queue, term)).dropped == 0


async def test_an_earlier_holder_takes_nothing_out(
    queue: EndpointQueue, store: Store, redis_process: RedisProcess
) -> None:
    put(redis_process, "a", "b")
    term = await queue.hold(30)
    seen = await fetched(queue, term)
    await queue.let_go()
    second = EndpointQueue(store, "crm", "two")
    later = await second.hold(30)
    assert users(await fetched(second, later)) == ["a", "b"]
    await queue.ack(term, [seen])
    assert users(await fetched(second, later)) == ["a", "b"]
    with pytest.raises(Superseded):
        await fetched(queue, term)


async def test_where_redis_came_back_without_events_new_ones_are_not_taken_for_old(
    queue: EndpointQueue, redis_process: RedisProcess
) -> None:
    """Numbers begin anew then, or go on from an older state."""
    put(redis_process, "a", "b", "c", "d")
    term = await queue.hold(30)
    seen = await fetched(queue, term)
    redis_process.ask("FLUSHALL")
    put(redis_process, "e", "f")
    await queue.ack(term, [seen])
    again = await fetched(queue, term)
    assert users(again) == ["e", "f"]
    await queue.ack(term, [Fetched(again.part, again.first, 0, seen.events[:2])])
    assert users(await fetched(queue, term)) == ["e", "f"], "numbers alone prove nothing"


async def test_a_key_of_another_type_holds_up_its_part_alone(queue: EndpointQueue, redis_process: RedisProcess) -> None:
    put(redis_process, "a", partition=5)
    events, _ = part_keys("crm", partitions()[3])
    redis_process.ask("SET", events, "wrong")
    term = await queue.hold(30)
    assert users(await fetched(queue, term)) == ["a"]


async def test_over_several_redises_each_has_its_parts_and_one_that_is_away_its_own_trouble(
    redis_process: RedisProcess, mortal_redis: RedisProcess
) -> None:
    store = Store([redis_process.url, mortal_redis.url])
    try:
        queue = EndpointQueue(store, "crm", "one")
        put(redis_process, "a")
        put(mortal_redis, "b")
        term = await queue.hold(30)
        filled = [part for part, _ in await queue.filled()]
        assert [part.place for part in filled] == ["0-3", "1-3"]
        found = await queue.fetch(term, filled, 10)
        assert sorted(user for one in found for user in users(one)) == ["a", "b"]
        mortal_redis.kill()
        assert [part.place for part, _ in await queue.filled()] == ["0-3"]
        assert [users(one) for one in await queue.fetch(term, filled, 10)] == [["a"]]
    finally:
        await store.close()
