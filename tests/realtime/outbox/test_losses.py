"""Redis loses what it was sent, or is away: what is kept is sent again, once and in order, and nothing is lost."""

import asyncio
import contextlib
from collections.abc import Awaitable, Iterator
from typing import Any

import pytest
from django.db import transaction

from flotilla.realtime.models import OutboxRow
from flotilla.realtime.outbox import keep, sender
from flotilla.realtime.outbox.rows import write
from flotilla.realtime.outbox.stats import forget, stats_of
from flotilla.store import Store, placement_of
from tests.realtime.outbox.databases import rows
from tests.realtime.outbox.relaying import WITHIN, Running, a_relay, put, relay_all, stream, until
from tests.store.faults import FAULTS
from tests.store.redis_process import RedisProcess

pytestmark = pytest.mark.usefixtures("channels")


@pytest.fixture
def weak_store(mortal_redis: RedisProcess) -> Iterator[Store]:
    """Of a Redis that may be killed."""
    store = Store([mortal_redis.url])
    forget()
    yield store
    forget()
    for shard in store.shards:
        shard.close_sync()


def test_an_emptied_redis_gets_what_is_kept_again(database: str, weak_store: Store, mortal_redis: RedisProcess) -> None:
    """Also where nothing new is published, and once."""
    put(database, "kept:1", 1, 2, 3)
    put(database, "kept:2", 1)
    put(database, "plain:1", 1)
    with Running(database, weak_store):
        until(lambda: stats_of(database).sent == 5)
        before = {row.epoch for row in rows(database, "kept:1")}
        mortal_redis.ask("FLUSHALL")
        until(lambda: stats_of(database).resent == 4)
        put(database, "kept:1", 4)
        until(lambda: stats_of(database).sent == 6)
    assert stream(weak_store, "kept:1") == [1, 2, 3, 4]
    assert stream(weak_store, "kept:2") == [1]
    assert {row.epoch for row in rows(database, "kept:1")}.isdisjoint(before)


@pytest.mark.parametrize("page", [1, 2000])
def test_an_older_redis_gets_what_it_lost_before_anything_new(
    database: str, weak_store: Store, mortal_redis: RedisProcess, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was restored from a snapshot: its streams begin anew, with all that is kept."""
    monkeypatch.setattr(keep, "PAGE", page)
    put(database, "kept:1", 1, 2)
    relay_all(database, weak_store)
    snapshot = mortal_redis.saved()
    put(database, "kept:1", 3, 4)
    relay_all(database, weak_store)
    mortal_redis.restart(snapshot)
    put(database, "kept:1", 5)
    with a_relay(database, weak_store) as relay:
        monkeypatch.setattr(relay._walk, "begin", lambda: None)  # what is new shows the loss by itself
        assert relay.once(WITHIN)
    assert stream(weak_store, "kept:1") == [1, 2, 3, 4, 5]
    assert (stats_of(database).sent, stats_of(database).resent) == (5, 4)


def test_a_relay_that_ends_while_it_has_lost_rows_wait_again_leaves_no_gap(
    database: str, weak_store: Store, mortal_redis: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one finds the rest."""
    monkeypatch.setattr(keep, "PAGE", 2)
    put(database, "kept:1", 1, 2, 3, 4, 5)
    relay_all(database, weak_store)
    mortal_redis.ask("FLUSHALL")
    put(database, "kept:1", 6)
    with a_relay(database, weak_store) as relay:
        reopened = keep.reopen
        monkeypatch.setattr(keep, "reopen", lambda *given: (relay.stop(), reopened(*given))[1])
        until(lambda: (relay._turn(), OutboxRow.objects.using(database).filter(sent_at=None).count() == 3)[1])
        monkeypatch.setattr(keep, "reopen", reopened)
    relay_all(database, weak_store)
    assert stream(weak_store, "kept:1") == [1, 2, 3, 4, 5, 6]


def test_a_stream_that_was_cut_is_filled_though_the_generation_is_the_same(database: str, a_store: Store) -> None:
    """As after a failover that nobody noticed: the row that Redis knows as the last one is an older one."""
    put(database, "kept:1", 1, 2, 3)
    relay_all(database, a_store)
    placement = placement_of("kept:1")
    [field] = [name for name in _meta(a_store, "kept:1") if name.startswith("b:")]
    first = rows(database, "kept:1")[0]
    a_store.first.execute_sync("HSET", placement.key("meta"), field, first.position or 0)
    with a_relay(database, a_store) as relay:
        assert relay.once()
        until(lambda: relay._turn() and not relay._walk.under_way)
        assert relay.once(WITHIN)
    assert stream(a_store, "kept:1") == [1, 2, 3, 2, 3]
    assert stats_of(database).resent == 2


def test_a_stream_that_has_expired_is_no_loss(database: str, a_store: Store) -> None:
    """Nothing is sent again, and what is new begins another one."""
    put(database, "kept:1", 1, 2)
    relay_all(database, a_store)
    placement = placement_of("kept:1")
    a_store.first.execute_sync("DEL", placement.key("meta"), placement.key("stream"))
    put(database, "kept:1", 3)
    relay_all(database, a_store)
    with a_relay(database, a_store) as relay:
        until(lambda: relay._turn() and not relay._walk.under_way)
        assert relay.once(WITHIN)
    assert stream(a_store, "kept:1") == [3]
    assert stats_of(database).resent == 0


def test_a_redis_that_is_away_is_waited_for(database: str, weak_store: Store, mortal_redis: RedisProcess) -> None:
    """However long, and nothing is set aside."""
    with Running(database, weak_store):
        put(database, "kept:1", 1)
        until(lambda: stats_of(database).sent == 1)
        mortal_redis.kill()
        put(database, "kept:1", 2, 3)
        put(database, "plain:1", 1)
        until(lambda: stats_of(database).faults >= 5)
        assert stats_of(database).waits_for == "Redis 0"
        mortal_redis.start()
        until(lambda: stats_of(database).sent == 4)
        until(lambda: stats_of(database).waits_for == "")
    assert not OutboxRow.objects.using(database).filter(failed_at__isnull=False).exists()


@contextlib.contextmanager
def during(name: str, redis: RedisProcess) -> Iterator[None]:
    """A fault that begins here."""
    with asyncio.Runner() as runner:
        fault = FAULTS[name](redis)
        runner.run(_each(fault.__aenter__()))
        try:
            yield
        finally:
            runner.run(_each(fault.__aexit__(None, None, None)))


async def _each(step: Awaitable[Any]) -> None:
    await step


@pytest.mark.parametrize("name", ["OOM", "READONLY", "NOREPLICAS", "MISCONF", "BUSY", "UNKILLABLE"])
def test_a_redis_that_takes_nothing_now_is_waited_for(
    database: str, weak_store: Store, mortal_redis: RedisProcess, name: str
) -> None:
    """Such an answer says nothing about a row. The rows come into a fault that holds already: else they might all be
    sent before it."""
    with Running(database, weak_store):
        put(database, "kept:1", 1)
        until(lambda: stats_of(database).sent == 1)
        with during(name, mortal_redis):
            with transaction.atomic(using=database):
                for number in range(2, 700):
                    write("kept:1", b'{"data":%d}' % number, {}, using=database)
            until(lambda: stats_of(database).faults >= 4)
        until(lambda: stats_of(database).sent == 699)
    assert stream(weak_store, "kept:1") == list(range(1, 700))
    assert not OutboxRow.objects.using(database).filter(attempts__gt=0).exists()


def test_a_redis_that_is_away_holds_up_its_own_channels_alone(
    database: str, redis_url: str, mortal_redis: RedisProcess
) -> None:
    """The others' rows go on, however many wait before them."""
    forget()
    store = Store([redis_url, mortal_redis.url])
    names = [f"kept:{number}" for number in range(40)]
    by_shard = [[name for name in names if store.shard_for(placement_of(name)).index == index] for index in (0, 1)]
    assert all(by_shard)
    store.layout.enter()  # a list that nobody knows yet begins with all of its Redises
    try:
        with Running(database, store):
            until(lambda: stats_of(database).holds)
            mortal_redis.kill()
            with transaction.atomic(using=database):
                for number in range(1200):
                    write(by_shard[1][number % len(by_shard[1])], b'{"data":%d}' % number, {}, using=database)
            put(database, by_shard[0][0], *range(10))
            until(lambda: stats_of(database).sent == 10)
            put(database, by_shard[0][0], 10)
            until(lambda: stats_of(database).sent == 11)
            mortal_redis.start()
            until(lambda: stats_of(database).sent == 1211)
        assert stream(store, by_shard[0][0]) == list(range(11))
        for place, name in enumerate(by_shard[1]):
            assert stream(store, name) == list(range(place, 1200, len(by_shard[1])))
    finally:
        for shard in store.shards:
            shard.close_sync()
        forget()


def test_a_redis_is_waited_for_no_more_when_no_row_is_left_for_it(
    database: str, weak_store: Store, mortal_redis: RedisProcess
) -> None:
    """The row was refused, or somebody deleted it: what Redis loses from then on is noticed again."""
    put(database, "kept:1", 1)
    with Running(database, weak_store):
        until(lambda: stats_of(database).sent == 1)
        mortal_redis.kill()
        put(database, "kept:2", 1)
        until(lambda: stats_of(database).waits_for == "Redis 0")
        OutboxRow.objects.using(database).filter(channel="kept:2").delete()
        until(lambda: stats_of(database).waits_for == "")
        mortal_redis.start()
        until(lambda: stats_of(database).resent == 1)
    assert stream(weak_store, "kept:1") == [1]


def test_what_a_redis_lost_is_sent_again_while_another_is_away(
    database: str, redis_url: str, mortal_redis: RedisProcess
) -> None:
    """And what that one lost, when it is back."""
    forget()
    store = Store([redis_url, mortal_redis.url])
    names = [f"kept:{number}" for number in range(20)]
    try:
        with Running(database, store):
            for name in names:
                put(database, name, 1)
            until(lambda: stats_of(database).sent == 20)
            of_weak = [name for name in names if store.shard_for(placement_of(name)).index]
            mortal_redis.kill()
            put(database, of_weak[0], 2)
            until(lambda: stats_of(database).waits_for == "Redis 1")
            store.shards[0].execute_sync("FLUSHALL")
            until(lambda: stats_of(database).resent == 20 - len(of_weak))
            mortal_redis.start()
            until(lambda: stats_of(database).resent == 20)
        assert stream(store, of_weak[0]) == [1, 2]
    finally:
        for shard in store.shards:
            shard.close_sync()
        forget()


def test_rows_behind_one_that_redis_refused_do_not_overtake_it(
    database: str, a_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its stream's key has another type for a moment: the whole channel waits, and goes on in order."""
    put(database, "kept:1", 1)
    relay_all(database, a_store)
    key = placement_of("kept:1").key("stream")
    a_store.first.execute_sync("RENAME", key, f"{key}-aside")
    a_store.first.execute_sync("SET", key, "x")
    put(database, "kept:1", 2, 3)
    put(database, "kept:2", 1)
    with a_relay(database, a_store) as relay:
        assert not relay.once()
        assert stream(a_store, "kept:2") == [1]
        a_store.first.execute_sync("DEL", key)
        a_store.first.execute_sync("RENAME", f"{key}-aside", key)
    relay_all(database, a_store)
    assert stream(a_store, "kept:1") == [1, 2, 3]
    assert "WRONGTYPE" not in {row.error for row in rows(database)}


def test_bounds_of_what_is_remembered(database: str, a_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A channel that was forgotten is looked up."""
    monkeypatch.setattr(sender, "REMEMBERED", 2)
    for number in (1, 2):
        for channel in range(6):
            put(database, f"kept:{channel}", number)
        relay_all(database, a_store)
    with a_relay(database, a_store) as relay:
        for channel in range(6):
            put(database, f"kept:{channel}", 3)
        assert relay.once()
        assert len(relay._sender._last) == 2
    assert [stream(a_store, f"kept:{channel}") for channel in range(6)] == [[1, 2, 3]] * 6


def _meta(store: Store, channel: str) -> list[str]:
    found: list[Any] = store.first.execute_sync("HKEYS", placement_of(channel).key("meta"))
    return [name.decode() for name in found]
