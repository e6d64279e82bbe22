"""What the question about the layout must not break: outages, a Redis that takes no writes, slow and silent Redises."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from flotilla.store import Store, StoreRefused, StoreUnavailable, layout, layout_marks
from flotilla.store.errors import StoreSilent
from tests.store.redis_process import RedisProcess, until
from tests.waiting import PATIENCE, wait_until


@pytest.fixture
def redises() -> Iterator[list[RedisProcess]]:
    processes = [RedisProcess() for _ in range(2)]
    yield processes
    for one in processes:
        one.close()


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layout's times, ten times shorter."""
    for name, seconds in (("LASTS", 0.6), ("USED_FOR", 0.4), ("EVERY", 0.1), ("NOBODY_FOR", 0.5)):
        monkeypatch.setattr(layout, name, seconds)


def _urls(redises: list[RedisProcess], numbers: str) -> list[str]:
    return [redises[int(number)].url for number in numbers]


def _works(store: Store) -> bool:
    try:
        return all(shard.execute_sync("PING") == b"PONG" for shard in store.shards)
    except StoreRefused as error:
        assert error.code == layout_marks.CODE, error
        return False


def _ends(*stores: Store) -> None:
    for store in stores:
        store.layout.leave()
        for shard in store.shards:
            shard.close_sync()


async def _expired(redis: RedisProcess) -> None:
    """Nobody is counted at a Redis any more."""
    await until(lambda: not redis.ask("EXISTS", _users()), what="nobody is counted")


def _users() -> str:
    return layout.partition_placement(0).partition_key("layout-users")


# Who waits with another list


@pytest.mark.usefixtures("short")
async def test_who_waits_with_another_list_is_not_quicker_after_an_outage(redises: list[RedisProcess]) -> None:
    """All who use the old one are not counted for a moment, as after each long pause of Redis: they come again."""
    used, other = Store(_urls(redises, "0")), Store(_urls(redises, "01"))
    assert _works(used)
    assert not _works(other)
    await _expired(redises[0])
    assert not _works(other)
    assert _works(used)
    assert not _works(other)
    _ends(used)
    assert not _works(other)
    await until(lambda: _works(other), what="the other list begins when nobody came back")
    _ends(other)


@pytest.mark.usefixtures("short")
async def test_looks_long_apart_do_not_say_that_nobody_came_between(redises: list[RedisProcess]) -> None:
    used, other = Store(_urls(redises, "0")), Store(_urls(redises, "01"))
    assert _works(used)
    _ends(used)
    assert not _works(other)
    since, _ = other.layout._nobody or (0.0, 0.0)
    await until(lambda: time.monotonic() > since + 2.5 * layout.NOBODY_FOR)
    assert not _works(other)
    _ends(other)


@pytest.mark.usefixtures("short")
async def test_one_redis_that_is_in_the_list_twice_is_named_and_spoils_nothing(redises: list[RedisProcess]) -> None:
    """By another address, which nobody can see from the list; a mended list begins as any other."""
    twice, right = Store([redises[0].url, f"{redises[0].url}?db=0"]), Store(_urls(redises, "0"))
    with pytest.raises(StoreRefused, match="names one Redis twice, as number 0 and 1"):
        twice.shards[0].execute_sync("PING")
    assert not redises[0].ask("ZCARD", _users())
    await until(lambda: _works(right), what="the right list begins")
    _ends(right, twice)


# A Redis that takes no writes


async def test_what_needs_no_write_goes_on_while_redis_takes_none(redises: list[RedisProcess]) -> None:
    """As with a full disk (MISCONF) or without the replicas that are wanted: announcements and reads pass, over a new
    connection too."""
    store = Store(_urls(redises, "0"))
    [shard] = store.shards
    assert _works(store)
    await shard.execute("PING")
    redises[0].ask("CONFIG", "SET", "min-replicas-to-write", "1")
    for _ in range(3):
        store.layout.places[0].renew_at = store.layout.places[0].until = 0.0  # the time is over
        assert await shard.announce("topic", b"message") == 0
        store.layout.places[0].renew_at = store.layout.places[0].until = 0.0
        assert shard.announce_sync("topic", b"message") == 0
        with pytest.raises(StoreRefused, match="NOREPLICAS"):
            await shard.execute("SET", "key", "value")
        redises[0].ask("CLIENT", "KILL", "TYPE", "normal")
        await until(lambda: not shard._link().connected)
    await store.close()


async def test_who_is_new_does_not_begin_where_redis_takes_no_writes(redises: list[RedisProcess]) -> None:
    redises[0].ask("CONFIG", "SET", "min-replicas-to-write", "1")
    store = Store(_urls(redises, "0"))
    with pytest.raises(StoreRefused, match="NOREPLICAS"):
        store.shards[0].execute_sync("PING")
    redises[0].ask("CONFIG", "SET", "min-replicas-to-write", "0")
    assert _works(store)
    _ends(store)


def test_an_error_that_says_nothing_of_the_layout_ends_no_process(redises: list[RedisProcess]) -> None:
    """All data was lost, somebody new was first, and Redis loads when this process comes again."""
    store, new = Store(_urls(redises, "0")), Store(_urls(redises, "0"))
    ended: list[bool] = []
    store.layout.on_end = lambda: ended.append(True)
    assert _works(store)
    redises[0].ask("FLUSHALL")
    assert _works(new)
    store.layout.places[0].renew_at = 0.0
    with pytest.raises(StoreUnavailable):
        store.shards[0].execute_sync("PING")
    redises[0].ask("CONFIG", "SET", "min-replicas-to-write", "1")
    with pytest.raises(StoreRefused, match="NOREPLICAS"):
        store.shards[0].execute_sync("PING")
    redises[0].ask("CONFIG", "SET", "min-replicas-to-write", "0")
    assert _works(store)
    assert not ended
    _ends(store, new)


# Silent Redises


def _paused(redis: RedisProcess) -> None:
    assert redis._process is not None
    os.kill(redis._process.pid, signal.SIGSTOP)


def _resumed(redis: RedisProcess) -> None:
    assert redis._process is not None
    os.kill(redis._process.pid, signal.SIGCONT)


async def test_nobody_waits_twice_for_a_redis_that_is_silent(redises: list[RedisProcess]) -> None:
    """Not for the answer to the question and then for a new connection."""
    store = Store(_urls(redises, "0"), timeout=0.3)
    await store.shards[0].execute("PING")
    connection = store.shards[0]._link()._attempt
    store.layout.places[0].renew_at = store.layout.places[0].until = 0.0
    _paused(redises[0])
    try:
        with pytest.raises(StoreSilent):
            await store.shards[0].execute("PING")
        assert store.shards[0]._link()._attempt is connection
    finally:
        _resumed(redises[0])
    await until(lambda: _pings(store), what="it goes on")
    await store.close()


async def _pings(store: Store) -> bool:
    try:
        return bool(await store.shards[0].execute("PING") == b"PONG")
    except StoreUnavailable:
        return False


class Door:
    """A lock that knows who has come to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.came: list[int] = []

    def acquire(self, timeout: float) -> bool:
        self.came.append(threading.get_ident())
        return self._lock.acquire(timeout=timeout)

    def release(self) -> None:
        self._lock.release()


def test_threads_that_come_together_ask_once(redises: list[RedisProcess], monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waited for another's answer takes it: ten threads do not wait for a silent Redis one after the other."""
    used, other = Store(_urls(redises, "0")), Store(_urls(redises, "01"))
    assert _works(used)
    asked, looks, all_wait = layout.Layout._look, list[int](), threading.Barrier(2)

    def slowly(self: layout.Layout, places: Sequence[layout.Place]) -> list[layout.Mark | StoreUnavailable]:
        looks.append(1)
        all_wait.wait(PATIENCE)
        return asked(self, places)

    monkeypatch.setattr(layout.Layout, "_look", slowly)
    found: list[Exception] = []

    def enter() -> None:
        try:
            other.layout.enter()
        except StoreRefused as error:
            found.append(error)

    door = Door()
    monkeypatch.setattr(other.layout, "_entering", door)
    threads = [threading.Thread(target=enter) for _ in range(5)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(door.came) == 5, "all have come")
    all_wait.wait(PATIENCE)
    for thread in threads:
        thread.join(PATIENCE)
    monkeypatch.undo()
    assert len(found) == 5
    assert len(looks) == 1
    _ends(used, other)


async def test_who_leaves_does_not_wait_for_each_silent_redis(
    redises: list[RedisProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them are asked together."""
    monkeypatch.setattr(layout, "LOOK_WITHIN", 0.4)
    monkeypatch.setattr(layout, "LOOK_AT_LEAST", 0.01)
    store = Store(_urls(redises, "01"))
    assert _works(store)
    given: list[float] = []
    made = layout.options_of
    monkeypatch.setattr(layout, "options_of", lambda seconds, retry: given.append(seconds) or made(seconds, retry))
    for one in redises:
        _paused(one)
    try:
        await asyncio.to_thread(store.layout.leave)
    finally:
        for one in redises:
            _resumed(one)
    assert len(given) == 2
    assert all(0.01 < seconds <= 0.4 for seconds in given)
    _ends(store)


# Who is refused, or out, while others of the process ask


class _CountedLock:
    """A lock that says how many wait for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.waiting = 0

    def acquire(self, timeout: float = -1) -> bool:
        self.waiting += 1
        try:
            return self._lock.acquire(timeout=timeout)
        finally:
            self.waiting -= 1

    def release(self) -> None:
        self._lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


async def test_a_refusal_is_passed_on_to_those_alone_who_came_while_it_was_asked_for(
    redises: list[RedisProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or threads that come one after another would pass an old one on for ever, and nobody would ask again."""
    used, other = Store(_urls(redises, "0")), Store(_urls(redises, "01"))
    assert _works(used)
    lock = other.layout._entering = _CountedLock()  # type: ignore[assignment]
    looks, told = list[int](), list[StoreUnavailable]()
    may_look, passed_on, may_pass_on = threading.Event(), threading.Event(), threading.Event()
    look, again = layout.Layout._look, StoreRefused.again

    def slow_look(self: layout.Layout, places: Sequence[layout.Place]) -> list[layout.Mark | StoreUnavailable]:
        looks.append(1)
        may_look.wait(10)
        return look(self, places)

    def slow_again(error: StoreRefused) -> StoreRefused:
        passed_on.set()
        may_pass_on.wait(10)
        return again(error)

    def enter() -> None:
        try:
            other.layout.enter()
        except StoreRefused as error:
            told.append(error)

    monkeypatch.setattr(layout.Layout, "_look", slow_look)
    monkeypatch.setattr(StoreRefused, "again", slow_again)
    threads = [threading.Thread(target=enter) for _ in range(3)]
    threads[0].start()
    await until(lambda: bool(looks), what="the first one asks")
    threads[1].start()
    await until(lambda: lock.waiting == 1, what="the second one waits for its answer")
    may_look.set()
    await until(passed_on.is_set, what="the second one is told it")
    threads[2].start()
    await until(lambda: lock.waiting == 1, what="the third one waits for the second")
    may_pass_on.set()
    for thread in threads:
        thread.join(10)
    monkeypatch.undo()
    assert len(told) == 3
    assert len(looks) == 2
    _ends(used, other)


def test_who_comes_when_one_redis_goes_away_is_counted_at_none(
    redises: list[RedisProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others would wait for a process that does not use the layout."""
    store, late = Store(_urls(redises, "01")), Store(_urls(redises, "01"))
    assert _works(store)
    _ends(store)
    take = layout.Layout._take

    def gone(self: layout.Layout, *arguments: object, **options: bool) -> None:
        redises[1].kill()
        take(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(layout.Layout, "_take", gone)
    with pytest.raises(StoreUnavailable):
        late.layout.enter()
    assert not late.layout.ids
    assert redises[0].ask("ZSCORE", _users(), late.layout.me) is None
    _ends(late)


def test_who_is_too_late_for_one_redis_does_not_rely_on_another(
    redises: list[RedisProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was first at Redis 0, and somebody else at Redis 1: a call over a connection that is still open asks first."""
    store, other = Store(_urls(redises, "01")), Store([redises[1].url])
    take = layout.Layout._take

    def second(self: layout.Layout, places: Sequence[layout.Place], *arguments: object, **options: bool) -> None:
        if places and places[0].index == 1:
            monkeypatch.undo()
            assert _works(other)
        take(self, places, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(layout.Layout, "_take", second)
    with pytest.raises(StoreRefused, match="LAYOUT"):
        store.layout.enter()
    assert redises[0].ask("ZSCORE", _users(), store.layout.me) is None
    assert all(place.renew_at == place.until == 0.0 for place in store.layout.places)
    _ends(other, store)


def test_an_answer_to_what_was_asked_before_the_process_went_out_says_nothing(redises: list[RedisProcess]) -> None:
    """Neither that it is refused, when it has come again, nor that it may call Redis, while it is out."""
    store = Store(_urls(redises, "01"))
    assert _works(store)
    place, sent = store.layout.places[0], time.monotonic()
    index = str(place.index).encode()
    store.layout._go_out()
    with pytest.raises(StoreUnavailable):
        place.read(sent, [1, b"a,b", index, 0, b""])
    assert place.until == 0.0
    assert _works(store)
    place.read(sent, [0, b"others", index, 0, b""])
    assert store.layout.ids
    assert _works(store)
    _ends(store)


async def test_who_is_out_asks_no_redis_over_an_open_connection(redises: list[RedisProcess]) -> None:
    """The question would take out another thread of the process that comes just then."""
    store = Store(_urls(redises, "0"))
    await store.shards[0].execute("PING")
    store.layout._go_out()
    with pytest.raises(StoreUnavailable):
        await store.shards[0].execute("PING")
    assert redises[0].ask("ZSCORE", _users(), store.layout.me) is not None
    await until(lambda: _pings(store), what="it comes again")
    await store.close()


async def test_who_leaves_while_it_comes_is_out(redises: list[RedisProcess], monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread had asked already when the process ended."""
    store = Store(_urls(redises, "0"))
    looks, may_look, look = list[int](), threading.Event(), layout.Layout._look

    def slow_look(self: layout.Layout, places: Sequence[layout.Place]) -> list[layout.Mark | StoreUnavailable]:
        looks.append(1)
        may_look.wait(10)
        return look(self, places)

    monkeypatch.setattr(layout.Layout, "_look", slow_look)
    lock = store.layout._entering = _CountedLock()  # type: ignore[assignment]
    comes, leaves = threading.Thread(target=store.layout.enter), threading.Thread(target=store.layout.leave)
    comes.start()
    await until(lambda: bool(looks), what="it asks")
    leaves.start()
    await until(lambda: lock.waiting == 1, what="it is to leave")
    may_look.set()
    for thread in (comes, leaves):
        thread.join(10)
    assert not store.layout.ids
    assert redises[0].ask("ZSCORE", _users(), store.layout.me) is None
    _ends(store)
