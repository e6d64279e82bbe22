"""Maps on a real Redis: entries and stream in one step, limits, ends, owners, and what a loss of Redis leaves."""

import asyncio

import msgspec
import pytest

from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.engine import map_calls
from flotilla.realtime.engine.broker import Broker
from flotilla.realtime.engine.map_calls import Author, MapPage, due_key, map_keys
from flotilla.realtime.engine.maps import Maps
from flotilla.realtime.protocol.maps import entry, is_entry
from flotilla.store import Store, StoreUnavailable, placement_of
from tests.store.faults import oom
from tests.store.redis_process import RedisProcess, until

pytestmark = pytest.mark.asyncio

OPTIONS = ChannelOptions(map=True, history_size=1000, history_ttl=60)
BOARD = "board:a"
ANN, BOB = Author("c1", "ann"), Author("c2", "bob")


@pytest.fixture
def maps(store: Store) -> Maps:
    return Maps(Broker(store))


async def put(maps: Maps, key: str, data: int = 0, options: ChannelOptions = OPTIONS, **keywords: object) -> int:
    changed = await maps.set(BOARD, key, entry(key, b"%d" % data), options, **keywords)  # type: ignore[arg-type]
    return changed.code


async def whole(maps: Maps) -> dict[str, int]:
    """All entries, page by page."""
    found: dict[str, int] = {}
    after = ""
    while True:
        page = await maps.state(BOARD, OPTIONS, after=after, limit=7)
        for one in page.entries:
            told = msgspec.json.decode(one.body)
            assert told["key"] not in found
            found[told["key"]] = told["data"]
        if not page.cursor:
            return found
        after = page.cursor


async def replayed(maps: Maps, store: Store) -> dict[str, int]:
    """What the stream says there is."""
    page = await Broker(store).history(BOARD, OPTIONS, limit=-1)
    assert [one.offset for one in page.publications] == list(range(1, page.top.offset + 1))
    found: dict[str, int] = {}
    for one in page.publications:
        assert is_entry(one.body)
        told = msgspec.json.decode(one.body)
        if told.get("removed"):
            del found[told["key"]]
        else:
            found[told["key"]] = told["data"]
    return found


async def test_the_state_is_what_the_stream_says(maps: Maps, store: Store) -> None:
    """Whoever changed what, at once."""

    async def change(worker: int) -> None:
        for number in range(60):
            key = f"k{(number * 7 + worker) % 25}"
            await (maps.remove(BOARD, key, OPTIONS) if number % 3 == 2 else put(maps, key, worker * 1000 + number))

    await asyncio.gather(*map(change, range(4)))
    state = await whole(maps)
    assert state == await replayed(maps, store)
    page = await maps.state(BOARD, OPTIONS)
    sizes = [len(one.body) + len(msgspec.json.decode(one.body)["key"]) for one in page.entries]
    assert (page.keys, page.bytes) == (len(state), sum(sizes))


async def test_limits_hold_for_writers_at_once(maps: Maps) -> None:
    few = msgspec.structs.replace(OPTIONS, map_max_keys=10)
    codes = await asyncio.gather(*(put(maps, f"k{number}", 0, few) for number in range(50)))
    assert codes.count(1) == 10 and codes.count(map_calls.TOO_MANY_KEYS) == 40
    assert await put(maps, f"k{codes.index(1)}", 5, few) == 1, "what is there may be replaced"
    small = msgspec.structs.replace(OPTIONS, map_max_bytes=1)
    assert await put(maps, "more", 0, small) == map_calls.TOO_MANY_BYTES
    assert await put(maps, f"k{codes.index(1)}", 6, small) == 1, "what is no larger as well"


async def test_only_one_gets_a_lock(maps: Maps) -> None:
    codes = await asyncio.gather(*(put(maps, "lock", number, mode="if_new") for number in range(20)))
    assert sorted(codes) == [0] * 19 + [1]
    assert await put(maps, "other", mode="if_exists") == 0
    assert await put(maps, "lock", 7, mode="if_exists") == 1
    assert await whole(maps) == {"lock": 7}


async def test_what_has_ended_is_removed_by_whoever_comes(maps: Maps, store: Store) -> None:
    """It is in no page from then on, and counts for no limit."""
    few = msgspec.structs.replace(OPTIONS, map_max_keys=2)
    await put(maps, "brief", 1, few, ttl=0.2)
    await put(maps, "stays", 2, few)
    due = due_key(placement_of(BOARD))
    assert await store.shard_for(placement_of(BOARD)).execute("ZCARD", due) == 1

    async def gone() -> bool:
        return "brief" not in await whole(maps)

    await until(gone)
    assert await put(maps, "next", 3, few) == 1
    assert await whole(maps) == await replayed(maps, store) == {"stays": 2, "next": 3}
    assert await store.shard_for(placement_of(BOARD)).execute("ZCARD", due) == 0
    await put(maps, "brief", 1, few)  # more than there may be, so it is not set
    await put(maps, "next", 4, few, ttl=60)
    await put(maps, "next", 5, few)
    assert await store.shard_for(placement_of(BOARD)).execute("ZCARD", due) == 0, "set without an end, it has none"


async def test_ends_are_told_once_however_many_look(maps: Maps, store: Store) -> None:
    await asyncio.gather(*(put(maps, f"k{number}", ttl=0.5) for number in range(20)))
    await until(lambda: _ended(maps))
    counts = await asyncio.gather(*(maps.end(BOARD, OPTIONS) for _ in range(5)))
    assert sum(counts) == 20
    assert await replayed(maps, store) == {}
    left = [
        key
        for key in map_keys(placement_of(BOARD))[4:]
        if await store.shard_for(placement_of(BOARD)).execute("EXISTS", key)
    ]
    assert left == []


async def _state_again(maps: Maps) -> MapPage | None:
    try:
        return await maps.state(BOARD, OPTIONS)
    except StoreUnavailable:
        return None


async def _ended(maps: Maps) -> bool:
    return await whole(maps) == {}


async def test_owners(maps: Maps) -> None:
    for owner, others in (("user", True), ("client", False)):
        options = msgspec.structs.replace(OPTIONS, map_owner=owner)
        await maps.remove(BOARD, "k", OPTIONS)
        assert await put(maps, "k", 1, options, by=ANN) == 1
        assert await put(maps, "k", 2, options, by=BOB) == map_calls.NOT_OWN
        assert (await maps.remove(BOARD, "k", options, by=BOB)).code == map_calls.NOT_OWN
        also = Author("c3", "ann")
        assert (await put(maps, "k", 3, options, by=also) == 1) is others
        assert await put(maps, "k", 4, options) == 1, "the server may"
        assert await put(maps, "k", 5, options, by=ANN) == map_calls.NOT_OWN, "and then it is the server's"


async def test_what_leaves_is_bounded_and_needs_who_leaves(maps: Maps, store: Store) -> None:
    options = msgspec.structs.replace(OPTIONS, map_remove_client_on_unsubscribe=True)
    present = placement_of(BOARD).key("pc")
    assert await put(maps, "k", 0, options, by=ANN, present=present) == map_calls.NOT_PRESENT
    await store.shard_for(placement_of(BOARD)).execute("HSET", present, ANN.client, "here")
    codes = [await put(maps, f"k{number}", 0, options, by=ANN, present=present) for number in range(101)]
    assert codes == [1] * 100 + [map_calls.TOO_MANY_OWNED]
    assert await put(maps, "k3", 1, options, by=ANN, present=present) == 1
    assert await put(maps, "k3", 1, options) == 1, "which is the server's now"
    assert await put(maps, "k100", 1, options, by=ANN, present=present) == 1


async def test_a_redis_that_came_back_older_has_another_epoch(mortal_redis: RedisProcess) -> None:
    """The map is what it has; nothing of the stream is given under its old name."""
    found = Store([mortal_redis.url])
    maps = Maps(Broker(found))
    await put(maps, "a", 1)
    saved = mortal_redis.saved()
    await put(maps, "b", 2)
    before = (await maps.state(BOARD, OPTIONS)).top
    mortal_redis.kill()
    mortal_redis.restart(saved)
    page = await until(lambda: _state_again(maps))
    assert [msgspec.json.decode(one.body)["key"] for one in page.entries] == ["a"]
    assert page.top.epoch != before.epoch and page.top.offset == 0
    assert page.entries[0].offset == 0, "no position of this stream"
    await put(maps, "b", 3)
    assert await whole(maps) == {"a": 1, "b": 3}
    await found.close()


async def test_a_full_redis_refuses_entries_and_lets_read(mortal_redis: RedisProcess) -> None:
    """Also behind entries that have ended: to remove them passes, and with it all that a script does next."""
    store = Store([mortal_redis.url])
    try:
        maps = Maps(Broker(store))
        await put(maps, "brief", 1, ttl=0.2)
        await put(maps, "stays", 2)
        async with oom(mortal_redis):

            async def ended() -> bool:
                return await whole(maps) == {"stays": 2}

            await until(ended)
            with pytest.raises(StoreUnavailable):
                await put(maps, "next", 3)
            assert (await maps.state(BOARD, OPTIONS, limit=0)).keys == 2
            assert (await maps.remove(BOARD, "stays", OPTIONS)).code == 1
        assert await put(maps, "next", 3) == 1
        assert await whole(maps) == {"next": 3}
    finally:
        await store.close()


async def test_threads_may_as_well(maps: Maps) -> None:
    body = entry("k", b"1")
    first = await asyncio.to_thread(maps.set_sync, BOARD, "k", body, OPTIONS)
    page = await asyncio.to_thread(maps.state_sync, BOARD, OPTIONS, key="k")
    assert [one.body for one in page.entries] == [body] and page.top == first.position
    gone = await asyncio.to_thread(maps.remove_sync, BOARD, "k", OPTIONS)
    assert gone.code == 1 and gone.position.offset == 2
    assert (await asyncio.to_thread(maps.remove_sync, BOARD, "k", OPTIONS)).code == 0
