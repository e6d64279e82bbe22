"""Processes with different lists of Redises never use them at the same time; each Store here stands for a process."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from flotilla.store import Store, StoreRefused, StoreUnavailable, layout, layout_marks
from flotilla.store.layout import LAYOUT
from flotilla.store.placement import partition_placement
from tests.store.redis_process import RedisProcess, until
from tests.waiting import PATIENCE


@pytest.fixture(scope="module")
def all_redises() -> Iterator[list[RedisProcess]]:
    processes = [RedisProcess() for _ in range(3)]
    yield processes
    for one in processes:
        one.close()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has another list begins at its first look that finds nobody; `test_layout_faults` has the wait."""
    monkeypatch.setattr(layout, "NOBODY_FOR", 0.0)


@pytest.fixture
def redises(all_redises: list[RedisProcess]) -> list[RedisProcess]:
    for one in all_redises:
        one.ask("FLUSHALL")
    return all_redises


def _urls(redises: list[RedisProcess], numbers: str) -> list[str]:
    return [redises[int(number)].url for number in numbers]


def _works(store: Store) -> bool:
    """Whether a process may call its Redises; it tries as a process does that waits."""
    try:
        return all(shard.execute_sync("PING") == b"PONG" for shard in store.shards)
    except StoreUnavailable as error:
        assert isinstance(error, StoreRefused), error
        assert error.code == layout_marks.CODE
        return False


def _ends(store: Store) -> None:
    store.layout.leave()
    for shard in store.shards:
        shard.close_sync()


@pytest.mark.parametrize(
    ("used", "other"),
    [("0", "01"), ("01", "0"), ("01", "10"), ("01", "02"), ("01", "012"), ("012", "01"), ("012", "0"), ("01", "21")],
)
def test_another_list_waits_until_nobody_uses_the_old_one(redises: list[RedisProcess], used: str, other: str) -> None:
    first, second = Store(_urls(redises, used)), Store(_urls(redises, other))
    assert _works(first)
    assert not _works(second)
    assert _works(first)
    _ends(first)
    if used[0] == other[0]:
        assert _works(second)
        assert not _works(first)  # it would be a foreign one by now
    else:
        with pytest.raises(StoreRefused, match=r"`manage\.py reshard` takes"):
            second.shards[0].execute_sync("PING")
    _ends(second)


def test_who_uses_a_layout_sees_no_other_come(redises: list[RedisProcess]) -> None:
    """Many with the right list, one after the other: each is in at once."""
    stores = [Store(_urls(redises, "01")) for _ in range(5)]
    assert all(_works(store) for store in stores)
    for store in stores:
        _ends(store)


def test_all_redises_are_asked_at_once(redises: list[RedisProcess], monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes has little time, and each of them may take all of it: none waits for the answer of another."""
    store = Store(_urls(redises, "012"))
    assert _works(store)
    late = Store(_urls(redises, "012"))
    everybody = threading.Barrier(len(redises))
    question = layout.Place.question
    monkeypatch.setattr(layout, "LOOK_WITHIN", PATIENCE)

    def asked(place: layout.Place, *args: Any, **options: Any) -> Any:
        everybody.wait(PATIENCE)
        return question(place, *args, **options)

    with monkeypatch.context() as all_come:
        all_come.setattr(layout.Place, "question", asked)
        late.layout.enter()  # looks, and comes
        late.layout.leave()
    _ends(late)
    _ends(store)


async def test_a_process_that_was_paused_does_not_call_a_redis_that_others_use_otherwise(
    redises: list[RedisProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connections are still open, in the loop and in threads: it asks before anything else."""
    paused, other = Store(_urls(redises, "0")), Store(_urls(redises, "01"))
    with monkeypatch.context() as short:
        for name, seconds in (("LASTS", 0.3), ("USED_FOR", 0.2), ("EVERY", 0.1)):
            short.setattr(layout, name, seconds)
        await paused.shards[0].execute("SET", "before", "1")
        paused.shards[0].execute_sync("SET", "before", "2")
    await until(lambda: _works(other), what="the other one may begin")
    with pytest.raises(StoreUnavailable):
        await paused.shards[0].execute("SET", "after", "1")
    with pytest.raises(StoreUnavailable):
        paused.shards[0].execute_sync("SET", "after", "2")
    assert redises[0].ask("EXISTS", "after") == 0
    _ends(other)
    await paused.close()


async def test_calls_are_served_after_a_long_silence(redises: list[RedisProcess]) -> None:
    """The question comes first, over the connection that is there."""
    store = Store(_urls(redises, "0"))
    for number in range(20):
        store.layout.places[0].renew_at = store.layout.places[0].until = 0.0  # as after a long silence
        assert await store.shards[0].execute("ECHO", str(number)) == str(number).encode()
        assert store.shards[0].execute_sync("ECHO", "thread") == b"thread"
    assert store.shards[0].stats.connects == 1
    await store.close()


def test_a_redis_that_lost_its_data_is_the_same_place(redises: list[RedisProcess]) -> None:
    """Who used it says so; who is new waits for that."""
    store, late = Store(_urls(redises, "01")), Store(_urls(redises, "01"))
    assert _works(store)
    redises[1].ask("FLUSHALL")
    assert not _works(late)
    for place in store.layout.places:
        place.renew_at = 0.0  # its next question
    assert _works(store)
    assert _works(late)
    _ends(late)
    _ends(store)


def test_all_data_is_lost_and_somebody_new_is_first(redises: list[RedisProcess]) -> None:
    store, new = Store(_urls(redises, "01")), Store(_urls(redises, "01"))
    assert _works(store)
    for one in redises:
        one.ask("FLUSHALL")
    assert _works(new)
    for place in store.layout.places:
        place.renew_at = 0.0
    with pytest.raises(StoreUnavailable):
        store.shards[0].execute_sync("PING")
    assert _works(store)
    assert _works(new)
    _ends(store)
    _ends(new)


def test_streams_that_were_left_behind_are_over(redises: list[RedisProcess]) -> None:
    """Without `reshard` nothing is moved: when a name comes back, its old stream is not taken for the present one."""
    first, second = Store(_urls(redises, "0")), Store(_urls(redises, "01"))
    assert _works(first)
    before = redises[0].ask("HGET", _partition(0), "g")
    _ends(first)
    assert _works(second)
    assert before is not None
    second.shards[0].compare_sync()
    assert redises[0].ask("HGET", _partition(0), "g") not in (None, before)
    _ends(second)


def _partition(number: int) -> str:
    return partition_placement(number).partition_key("partition")


def test_a_layout_that_ends_is_used_by_those_who_end_in_order(redises: list[RedisProcess]) -> None:
    """An instance may, until it has; another process may not, and nobody comes."""
    instance, worker, late = (Store(_urls(redises, "0")) for _ in range(3))
    told: list[float] = []
    instance.layout.on_end = lambda: told.append(time.monotonic())
    assert _works(instance)
    assert _works(worker)
    redises[0].ask("HSET", partition_placement(0).partition_key("layout"), "state", layout_marks.ENDING)
    for store in (instance, worker):
        store.layout.places[0].renew_at = 0.0
    assert _works(instance)
    assert len(told) == 1
    assert not _works(worker)
    assert not _works(late)
    instance.layout.places[0].renew_at = 0.0
    assert _works(instance)
    assert len(told) == 1
    redises[0].ask("HSET", partition_placement(0).partition_key("layout"), "state", layout_marks.HELD)
    instance.layout.places[0].renew_at = 0.0
    assert not _works(instance)
    redises[0].ask("HDEL", partition_placement(0).partition_key("layout"), "state")
    assert _works(worker)  # it was taken back
    for store in (instance, worker, late):
        _ends(store)


def test_memory_is_full(redises: list[RedisProcess]) -> None:
    """Who uses the layout keeps its place."""
    store = Store(_urls(redises, "0"))
    assert _works(store)
    redises[0].ask("CONFIG", "SET", "maxmemory", "1")
    try:
        for _ in range(3):
            store.layout.places[0].renew_at = 0.0
            assert _works(store)
            assert store.layout.places[0].renew_at > 0
    finally:
        redises[0].ask("CONFIG", "SET", "maxmemory", "0")
    _ends(store)
    assert LAYOUT.name == "flotilla.store.layout"
