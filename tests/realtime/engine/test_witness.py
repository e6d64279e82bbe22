"""Another run of Redis: what it holds is believed only when nobody knows better.

Instances are stores with brokers and watches of their own; who lives is told by the test, as leases would.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.engine.broker import Broker
from flotilla.realtime.engine.publication import StreamPosition
from flotilla.realtime.engine.recovery import recover
from flotilla.realtime.engine.witness import Watch
from flotilla.store import Store, StoreUnavailable, placement_of
from tests.store.redis_process import RedisProcess, until

pytestmark = pytest.mark.asyncio

ROOM = "room"
OPTIONS = ChannelOptions(history_size=100, history_ttl=600, history_meta_ttl=7200)


class Instance:
    """One process of the cluster, as far as trust is concerned."""

    def __init__(self, url: str, name: str, living: set[str]) -> None:
        self.name = name
        self._living = living
        self.store = Store([url])
        self.broker = Broker(self.store)
        self.watch = Watch(self.store, lambda: name, self._lives)

    async def _lives(self) -> list[str]:
        await self.store.first.execute("PING")
        return list(self._living)

    async def start(self) -> "Instance":
        self._living.add(self.name)
        self.watch.start()
        await until(lambda: self.name in self.watch.witness(0).living)
        return self

    async def knows(self, *names: str) -> None:
        """Wait until it has seen these alive."""
        await until(lambda: set(names) <= set(self.watch.witness(0).living))

    async def end(self) -> None:
        """In order."""
        await self.watch.close()
        self._living.discard(self.name)
        await self.watch.leave()
        await self.store.close()

    async def die(self) -> None:
        """As after kill -9: its lease stays for a while."""
        await self.watch.close()
        await self.store.close()

    async def publish(self, *texts: str) -> StreamPosition:
        position = StreamPosition("", 0)
        for text in texts:
            position = await self.broker.publish(ROOM, b'{"data":"%s"}' % text.encode(), OPTIONS)
        return position

    async def kept(self) -> list[str]:
        page = await self.broker.history(ROOM, OPTIONS, limit=-1)
        return [publication.body.decode().split('"')[3] for publication in page.publications]

    async def recovers(self, position: StreamPosition) -> bool:
        """Whether a client that stood there gets what it missed."""
        page = await self.broker.history(ROOM, OPTIONS, since=position.offset, limit=100, whole=True)
        return recover(position, page, 100, OPTIONS.history_meta_ttl).recovered


Begin = Callable[[str], Awaitable[Instance]]


@pytest_asyncio.fixture
async def begin(mortal_redis: RedisProcess) -> AsyncIterator[Begin]:
    living: set[str] = set()
    made: list[Instance] = []

    async def one(name: str) -> Instance:
        made.append(Instance(mortal_redis.url, name, living))
        return await made[-1].start()

    yield one
    for instance in made:
        await instance.die()


async def two(begin: Begin) -> tuple[Instance, Instance]:
    """Instances that know of each other."""
    first, second = await begin("a"), await begin("b")
    await first.knows("a", "b")
    await second.knows("a", "b")
    return first, second


async def test_an_orderly_restart_keeps_the_epoch(mortal_redis: RedisProcess, begin: Begin) -> None:
    """Everybody who was there compares, and what was published waits meanwhile instead of failing."""
    a, b = await two(begin)
    before = await a.publish("one", "two")
    mortal_redis.restart(mortal_redis.saved())
    after = await until_published(b, "three")
    assert after == StreamPosition(before.epoch, 3)
    assert await a.recovers(before)
    assert await a.kept() == ["one", "two", "three"]


async def until_published(instance: Instance, text: str) -> StreamPosition:
    """Publish as a client that tries again does, while Redis is away."""
    found: list[StreamPosition] = []

    async def attempt() -> bool:
        try:
            found.append(await instance.broker.publish(ROOM, b'{"data":"%s"}' % text.encode(), OPTIONS))
        except StoreUnavailable:
            return False
        return True

    await until(attempt, within=15)
    return found[0]


async def test_a_rollback_is_noticed_by_those_who_heard_more(mortal_redis: RedisProcess, begin: Begin) -> None:
    """The one that publishes first afterwards had not seen the newest publications; another instance had."""
    a, b = await two(begin)
    await a.publish("one", "two")
    snapshot = mortal_redis.saved()
    newest = await a.publish("three", "four")
    mortal_redis.restart(snapshot)
    after = await until_published(b, "another three")
    assert after.epoch != newest.epoch
    assert after.offset == 1
    assert not await b.recovers(newest)
    assert not await b.recovers(StreamPosition(newest.epoch, 2))


async def test_a_rollback_that_nobody_remembers_is_told(mortal_redis: RedisProcess, begin: Begin) -> None:
    """All instances died with Redis: a client that knows more is not taken for one that is merely behind."""
    a, b = await two(begin)
    await a.publish("one")
    snapshot = mortal_redis.saved()
    newest = await a.publish("two", "three")
    await a.die()
    await b.die()
    mortal_redis.restart(snapshot)
    c = await begin("c")
    for number in range(3):
        await until_published(c, f"new {number}")
    assert not await c.recovers(newest)
    assert await c.kept() == ["new 0", "new 1", "new 2"]


async def test_one_who_is_missing_may_have_known_more(mortal_redis: RedisProcess, begin: Begin) -> None:
    """It died together with Redis, and the others did not hear everything it heard."""
    a, b = await two(begin)
    before = await a.publish("one")
    snapshot = mortal_redis.saved()
    await a.die()
    mortal_redis.restart(snapshot)
    assert (await until_published(b, "two")).epoch != before.epoch


async def test_a_cluster_that_ended_in_order_keeps_its_history_once(mortal_redis: RedisProcess, begin: Begin) -> None:
    """The last one leaves word; a second restart without anybody finds none."""
    a, b = await two(begin)
    before = await a.publish("one", "two")
    await b.end()
    await a.end()
    mortal_redis.restart(mortal_redis.saved())
    c = await begin("c")
    assert await c.recovers(before)
    assert await until_published(c, "three") == StreamPosition(before.epoch, 3)
    snapshot = mortal_redis.saved()
    await c.die()
    mortal_redis.restart(snapshot)
    d = await begin("d")
    assert (await until_published(d, "four")).epoch != before.epoch


async def test_one_that_is_still_closing_does_not_wipe_out_the_word_of_the_last(
    mortal_redis: RedisProcess, begin: Begin
) -> None:
    """Its lease is back, but its threads may still connect, and what it was asked to publish is published."""
    a, b = await two(begin)
    before = await a.publish("one")
    await a.watch.close()
    a._living.discard("a")
    await b.end()
    await asyncio.to_thread(a.broker.publish_sync, ROOM, b'{"data":"two"}', OPTIONS)  # over a connection of its own
    await a.store.close()
    mortal_redis.restart(mortal_redis.saved())
    c = await begin("c")
    assert await until_published(c, "three") == StreamPosition(before.epoch, 3)


async def test_an_older_snapshot_than_the_orderly_end_is_not_believed(mortal_redis: RedisProcess, begin: Begin) -> None:
    """It has no word of the end."""
    a = await begin("a")
    await a.publish("one")
    snapshot = mortal_redis.saved()
    before = await a.publish("two")
    await a.end()
    mortal_redis.restart(snapshot)
    c = await begin("c")
    await until_published(c, "another two")
    assert not await c.recovers(before)


async def test_a_kill_of_every_instance_alone_costs_nothing(mortal_redis: RedisProcess, begin: Begin) -> None:
    """Redis is the same run."""
    a = await begin("a")
    before = await a.publish("one")
    await a.die()
    c = await begin("c")
    assert await c.publish("two") == StreamPosition(before.epoch, 2)


async def test_one_that_comes_late_and_heard_more_is_believed(mortal_redis: RedisProcess, begin: Begin) -> None:
    """The run was trusted without it: what it heard of the run before decides, whatever was published since."""
    a = await begin("a")
    await a.publish("one")
    snapshot = mortal_redis.saved()
    b = await begin("b")
    newest = await b.publish("two")
    a._living.discard("b")
    await until(lambda: "b" not in a.watch.witness(0).living)  # nobody had seen it yet
    await b.watch.close()
    a.broker.partition(ROOM).count = 1  # type: ignore[union-attr]  # and nobody had heard of what it published
    mortal_redis.restart(snapshot)
    first = await until_published(a, "another two")
    assert first == StreamPosition(newest.epoch, 2)
    await until_published(b, "three")
    assert (await a.publish("four")).epoch != newest.epoch


async def test_what_is_heard_after_comparing_is_of_the_new_run(mortal_redis: RedisProcess, begin: Begin) -> None:
    """One that has compared, and hears what others publish before it is told how it ended, has not heard too much."""
    a, b = await two(begin)
    before = await a.publish("one")
    for instance in (a, b):  # they stay instances, but look no more
        assert instance.watch._task is not None
        instance.watch._task.cancel()
    mortal_redis.restart(mortal_redis.saved())
    await until(lambda: _compares(b))
    assert b.store.first.partitions is not None and b.store.first.partitions.doubted
    after = await until_published(a, "two")
    b.broker.partition(ROOM).note(after.epoch, 2)  # type: ignore[union-attr]  # as from the layer
    await asyncio.to_thread(b.broker.history_sync, ROOM, OPTIONS)  # over a new connection, which compares anew
    assert await until_published(a, "three") == StreamPosition(before.epoch, 3)


async def _compares(instance: Instance) -> bool:
    try:
        await instance.store.first.execute("PING")
    except StoreUnavailable:
        return False
    return True


async def test_an_emptied_redis_begins_anew(mortal_redis: RedisProcess, begin: Begin) -> None:
    """Within one run as well."""
    a = await begin("a")
    before = await a.publish("one", "two")
    mortal_redis.ask("FLUSHALL")
    after = await a.publish("new")
    assert after.offset == 1
    assert after.epoch != before.epoch
    assert not await a.recovers(before)


async def test_a_redis_that_keeps_everything_is_trusted_at_once(
    mortal_redis: RedisProcess, begin: Begin, settings: Any
) -> None:
    """So the settings may say; but not against what somebody heard."""
    settings.REDIS_DURABLE = True
    a = await begin("a")
    before = await a.publish("one")
    snapshot = mortal_redis.saved()
    await a.die()
    mortal_redis.restart(snapshot)
    c = await begin("c")
    assert await c.publish("two") == StreamPosition(before.epoch, 2)
    mortal_redis.restart(snapshot)
    assert (await until_published(c, "another two")).epoch != before.epoch


async def test_calls_that_wait_keep_their_order(mortal_redis: RedisProcess, begin: Begin) -> None:
    """What one publisher sends off while it is not settled stands in the order in which it was sent."""
    a, b = await two(begin)
    await a.publish("first")
    snapshot = mortal_redis.saved()
    await b.watch.close()  # it is alive, but does not come
    mortal_redis.restart(snapshot)
    sent = []
    await until(lambda: a.store.first.partitions.doubted, within=15)  # type: ignore[union-attr]
    for number in range(30):
        sent.append(a.broker.start_publish(ROOM, b'{"data":"%d"}' % number, OPTIONS))
        await asyncio.sleep(0)
    await asyncio.gather(*sent)
    assert await a.kept() == [str(number) for number in range(30)]


async def test_threads_wait_as_well(mortal_redis: RedisProcess, begin: Begin) -> None:
    """A worker's publication goes through when the instances have settled it."""
    a = await begin("a")
    await a.publish("one")
    worker = Broker(Store([mortal_redis.url]))
    first = await asyncio.to_thread(worker.publish_sync, ROOM, b'{"data":"two"}', OPTIONS)
    mortal_redis.restart(mortal_redis.saved())
    again = await asyncio.to_thread(worker.publish_sync, ROOM, b'{"data":"three"}', OPTIONS)
    assert again == StreamPosition(first.epoch, 3)
    assert await a.kept() == ["one", "two", "three"]
    await worker.store.close()


async def test_a_reader_before_the_restart_finds_its_place_after_it(mortal_redis: RedisProcess, begin: Begin) -> None:
    """The position of a channel without a stream holds over an orderly restart, too."""
    a = await begin("a")
    position = (await a.broker.history(ROOM, OPTIONS)).top
    mortal_redis.restart(mortal_redis.saved())
    made = await until_published(a, "one")
    assert made == StreamPosition(position.epoch, 1)
    assert await a.recovers(position)


async def test_who_was_there_is_not_forgotten_by_waiting(mortal_redis: RedisProcess, begin: Begin) -> None:
    """The votes have expired before anybody asked again: then nobody knows any more who is missing."""
    a, b = await two(begin)
    before = await a.publish("one")
    snapshot = mortal_redis.saved()
    await b.die()
    assert a.watch._task is not None
    a.watch._task.cancel()
    mortal_redis.restart(snapshot)
    await until(lambda: _compares(a))
    a.watch._expected[0].discard("b")
    for key in mortal_redis.ask("KEYS", "flotilla:votes:*"):
        mortal_redis.ask("DEL", key)
    assert (await until_published(a, "two")).epoch != before.epoch


async def test_two_restarts_in_a_row_are_one_doubt(mortal_redis: RedisProcess, begin: Begin) -> None:
    """Calls that were held for one run wait for the next; nobody speaks of the one before."""
    a, b = await two(begin)
    before = await a.publish("one")
    await b.watch.close()
    snapshot = mortal_redis.saved()
    mortal_redis.restart(snapshot)
    await until(lambda: _compares(a))
    partitions = a.store.first.partitions
    assert partitions is not None and partitions.doubted
    held = a.broker.start_publish(ROOM, b'{"data":"held"}', OPTIONS)
    first = partitions.run
    mortal_redis.restart(snapshot)
    await until(lambda: partitions.run != first)
    await asyncio.gather(held, return_exceptions=True)
    second = partitions.run
    assert (await until_published(a, "two")).epoch != before.epoch  # b was there, and did not come
    assert partitions.run == second
    trusted = mortal_redis.ask("HGET", placement_of(ROOM).partition_key("partition"), "r")
    assert trusted.decode() == second


async def test_who_was_gone_before_the_last_look_is_not_waited_for(mortal_redis: RedisProcess, begin: Begin) -> None:
    """Whatever it had heard is known since; so the death of an instance a while ago costs no epoch."""
    a, b = await two(begin)
    before = await b.publish("one")
    await b.die()
    a._living.discard("b")
    await until(lambda: "b" not in a.watch.witness(0).living)
    mortal_redis.restart(mortal_redis.saved())
    assert await until_published(a, "two") == StreamPosition(before.epoch, 2)


async def test_an_outage_is_no_time_in_which_somebody_is_gone(mortal_redis: RedisProcess, begin: Begin) -> None:
    """Whoever was there when Redis was there last is expected, although no lease says so any more."""
    a, b = await two(begin)
    before = await a.publish("one")
    snapshot = mortal_redis.saved()
    mortal_redis.kill()
    await until(lambda: a.watch._away)
    a._living.clear()
    await b.die()
    (mortal_redis.folder / "dump.rdb").write_bytes(snapshot)
    mortal_redis.start()
    assert (await until_published(a, "two")).epoch != before.epoch
