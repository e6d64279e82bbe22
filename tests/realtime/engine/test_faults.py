"""Redis answers with errors while a hub works on a channel: nobody goes deaf, and nothing stays in a passing state."""

import asyncio
from typing import Any

import pytest

from flotilla.realtime.engine import synchronizer
from flotilla.realtime.engine.publication import Page
from flotilla.realtime.engine.synchronizer import NotLive
from flotilla.realtime.node import heartbeat
from flotilla.store import StoreUnavailable, placement_of
from tests.realtime.engine.processes import Make, Process, drop, expect, topics
from tests.store import faults
from tests.store.faults import FAULTS
from tests.store.redis_process import RedisProcess, until

pytestmark = pytest.mark.asyncio

ASKED = 3  # times that Redis refuses before the fault ends


@pytest.fixture
def redis_process(mortal_redis: RedisProcess) -> RedisProcess:
    """A Redis of this test's own: what is done to it may outlast a test that fails."""
    return mortal_redis


def workers(process: Process, channel: str = "room") -> list[str]:
    """What works on a channel now, by name."""
    return [name for name, task in process.hub.channels[channel].workers.items() if not task.done()]


async def worked_on(process: Process, channel: str = "room") -> None:
    """Wait until Redis has refused this process so many calls more, or all was done in spite of the fault; and see that
    either way nothing is left without a task."""
    stats, found = process.store.first.stats, process.hub.channels[channel]
    before = stats.refused + stats.unavailable
    await until(lambda: stats.refused + stats.unavailable >= before + ASKED or found.settled)
    assert found.settled or workers(process, channel)


class TestRefilling:
    @pytest.mark.parametrize("name", ["READONLY", "MASTERDOWN", "NOPERM scripts", "NOPERM streams", "BUSY"])
    async def test_a_gap_is_filled_although_redis_refused_history_meanwhile(
        self, make: Make, monkeypatch: pytest.MonkeyPatch, redis_process: RedisProcess, name: str
    ) -> None:
        """Those who were there get everything, those who come get all from where they begin."""
        one, two = await make(), await make()
        client, _, _ = await one.subscribe()
        drop(one, 1)
        asked, go_on, inner = asyncio.Event(), asyncio.Event(), one.broker.history

        async def history(*args: Any, **wanted: Any) -> Page:
            asked.set()
            await go_on.wait()
            return await inner(*args, **wanted)

        monkeypatch.setattr(one.broker, "history", history)
        await two.publish(2)
        await asked.wait()
        async with FAULTS[name](redis_process):
            go_on.set()
            await worked_on(one)
            coming = asyncio.create_task(subscribed(one))
        await until(expect(client, 1, 2))
        newcomer, start = await coming
        last = await published(two, 3)
        await until(expect(client, 1, last))
        await until(expect(newcomer, start + 1, last))
        await until(lambda: one.hub.channels["room"].settled and not workers(one))

    async def test_who_comes_while_history_does_not_answer_is_not_accepted_and_deaf(
        self, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """But told to try again, in time."""
        monkeypatch.setattr(synchronizer, "CONFIRM_WITHIN", 0.3)
        one = await make()
        client, _, _ = await one.subscribe()
        drop(one, 1)
        inner, away = one.broker.history, [True]

        async def history(*args: Any, **wanted: Any) -> Page:
            if away[0]:
                raise StoreUnavailable("away")
            return await inner(*args, **wanted)

        monkeypatch.setattr(one.broker, "history", history)
        await one.publish(2)
        await until(lambda: one.hub.channels["room"].failing)
        with pytest.raises(NotLive):
            await one.subscribe()
        away[0] = False
        await until(expect(client, 1, 2))
        newcomer, _, start = await one.subscribe()
        await one.publish()
        assert start == 2
        await until(expect(newcomer, 3, 3))

    @pytest.mark.parametrize("error", [TypeError("a list was wanted"), ValueError("?"), asyncio.CancelledError()])
    async def test_the_task_that_fills_a_gap_fails_and_another_follows(
        self, make: Make, monkeypatch: pytest.MonkeyPatch, error: BaseException
    ) -> None:
        """Whatever it was that ended it."""
        one = await make()
        client, _, _ = await one.subscribe()
        drop(one, 1)
        inner, failures = one.broker.history, [error, error]

        async def history(*args: Any, **wanted: Any) -> Page:
            if failures:
                raise failures.pop()
            return await inner(*args, **wanted)

        monkeypatch.setattr(one.broker, "history", history)
        await one.publish(3)
        await until(expect(client, 1, 3))
        assert not failures


class TestConfirming:
    @pytest.mark.parametrize("name", list(FAULTS))
    async def test_a_channel_that_is_asked_for_during_a_fault_is_live_after_it(
        self, make: Make, redis_process: RedisProcess, name: str
    ) -> None:
        """Whoever asks gets in, then or when they come again, and misses nothing from there on."""
        one, two = await make(), await make()
        await one.subscribe("other")
        async with FAULTS[name](redis_process):
            coming = asyncio.create_task(subscribed(one))
            await until(lambda: "room" in one.hub.channels)
            await worked_on(one)
        client, start = await coming
        last = await published(two, 3)
        await until(expect(client, start + 1, last))
        await until(lambda: one.hub.channels["room"].settled)

    @pytest.mark.parametrize("name", ["READONLY", "BUSY", "NOPERM publish", "NOPERM topics", "OOM"])
    async def test_a_channel_that_is_confirmed_again_during_a_fault_settles_after_it(
        self, make: Make, redis_process: RedisProcess, name: str
    ) -> None:
        """What was lost before is found, without another publication."""
        one, two = await make(), await make()
        client, _, _ = await one.subscribe()
        lost = drop(one, 1)
        await two.publish()
        await until(lambda: lost)
        async with FAULTS[name](redis_process):
            one.hub.resync()
            await worked_on(one)
        await until(expect(client, 1, 1))
        await until(lambda: one.hub.channels["room"].settled)

    @pytest.mark.parametrize("error", [TypeError("a list was wanted"), asyncio.CancelledError()])
    async def test_the_task_that_confirms_fails_and_another_follows(
        self, make: Make, monkeypatch: pytest.MonkeyPatch, error: BaseException
    ) -> None:
        """For the first confirmation, and for one of later."""
        one = await make()
        inner, failures = one.broker.confirm, [error]

        async def confirm(*args: Any) -> None:
            if failures:
                raise failures.pop()
            await inner(*args)

        monkeypatch.setattr(one.broker, "confirm", confirm)
        client, _, _ = await one.subscribe()
        lost = drop(one, 1)
        await one.publish()
        await until(lambda: lost)
        failures.append(error)
        one.hub.resync()
        await until(expect(client, 1, 1))
        assert not failures

    async def test_a_refused_subscription_to_a_topic_is_made_again(
        self, make: Make, redis_process: RedisProcess
    ) -> None:
        """The connection that Redis lets nobody subscribe on is made anew until it does."""
        one = await make()
        await one.subscribe("other")
        redis_process.ask("ACL", "SETUSER", "default", "-subscribe")
        coming = asyncio.create_task(subscribed(one))
        await until(lambda: "room" in one.hub.channels and one.hub.channels["room"].joined)
        assert not topics(redis_process, "room")
        redis_process.ask("ACL", "SETUSER", "default", "+subscribe")
        client, start = await coming
        await one.publish()
        await until(expect(client, start + 1, start + 1))

    async def test_channels_of_a_shard_that_hangs_keep_no_channel_of_another_waiting(
        self, redis_process: RedisProcess, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Those that are confirmed again wait for each other within their shard."""
        monkeypatch.setattr(synchronizer, "RESYNC_AT_ONCE", 1)
        other = RedisProcess()
        process = await Process(redis_process.url, other.url).start()
        try:
            shards = [[name for name in map(str, range(40)) if on_shard(process, name) == shard] for shard in (0, 1)]
            for name in shards[1]:
                await process.subscribe(name)
            client, _, _ = await process.subscribe(shards[0][0])
            lost = drop(process, 1)
            await process.publish(1, shards[0][0])
            await until(lambda: lost)
            async with faults.hanging(other):
                process.hub.resync()
                await until(expect(client, 1, 1))
            await until(lambda: all(channel.settled for channel in process.hub.channels.values()))
        finally:
            await process.close()
            other.close()


def on_shard(process: Process, name: str) -> int:
    return process.store.shard_for(placement_of(name)).index


class TestPoisoned:
    @pytest.mark.parametrize("kind", ["meta", "stream"])
    async def test_a_key_of_another_type_stops_one_channel_alone_and_only_while_it_is_there(
        self, make: Make, redis_process: RedisProcess, monkeypatch: pytest.MonkeyPatch, kind: str
    ) -> None:
        """Its subscribers get all, or are told; the heart beats on."""
        monkeypatch.setattr(synchronizer, "CONFIRM_WITHIN", 1.0)
        one, two = await make(beating=True), await make()
        client, subscription, _ = await one.subscribe()
        well, _, _ = await one.subscribe("well")
        await two.publish(2)
        await until(expect(client, 1, 2))
        key = placement_of("room").key(kind)
        redis_process.ask("DEL", key)
        redis_process.ask("SET", key, "poison")
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await two.publish()
        one.hub.resync()
        await two.publish(2, "well")
        await until(expect(well, 1, 2))
        await until(lambda: one.heartbeat.alive)
        redis_process.ask("DEL", key)
        last = await published(two, 1)
        if kind == "meta":
            await until(lambda: client.lost == [subscription])
        else:  # what was refused has taken no offset
            await until(expect(client, 1, last))
        again, start = await subscribed(one)
        last = await published(two, 2)
        await until(expect(again, start + 1, last))
        await until(lambda: one.hub.channels["room"].settled)


class TestBeating:
    @pytest.mark.parametrize("name", [name for name in FAULTS if name != "OOM"])
    async def test_the_heart_beats_again_after_a_fault(
        self, make: Make, redis_process: RedisProcess, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        """Without a restart of anything; while Redis refuses, it does not."""
        monkeypatch.setattr(heartbeat, "EVERY", 0.05)
        monkeypatch.setattr(heartbeat, "DEAF_AFTER", 0.5)
        one = await make(beating=True)
        await until(lambda: one.heartbeat.alive)
        async with FAULTS[name](redis_process):
            if name in ("BUSY", "NOPERM publish", "NOPERM topics", "LOADING"):
                await until(lambda: not one.heartbeat.alive)
        received = one.heartbeat._received[0]
        await until(lambda: one.heartbeat.alive and one.heartbeat._received[0] > received + 3)

    async def test_a_shard_that_hangs_delays_no_other_shards_beats(
        self, redis_process: RedisProcess, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And is no reason to give up a connection that is well."""
        monkeypatch.setattr(heartbeat, "EVERY", 0.05)
        other = RedisProcess()
        process = Process(redis_process.url, other.url)
        given_up: list[int] = []
        try:
            await process.start(beating=True)
            await until(lambda: process.heartbeat.alive)
            inner = process.layer.give_up

            async def give_up(shard: int) -> None:
                given_up.append(shard)
                await inner(shard)

            monkeypatch.setattr(process.layer, "give_up", give_up)
            async with faults.hanging(other):
                before = process.heartbeat._received[0]
                await until(lambda: process.heartbeat._received[0] > before + 20, 5)
            await until(lambda: process.heartbeat.alive)
            assert 0 not in given_up
        finally:
            await process.close()
            other.close()


async def subscribed(process: Process) -> tuple[Any, int]:
    """A client in the channel, tried until it is let in, as clients do; and where it begins."""
    while True:
        try:
            client, _, start = await process.subscribe()
            return client, start
        except (NotLive, StoreUnavailable):
            await asyncio.sleep(0.05)


async def published(process: Process, count: int) -> int:
    """Publish so many, each tried until Redis takes it; returns the last offset."""
    last = 0
    while count:
        try:
            last = await process.publish()
            count -= 1
        except StoreUnavailable:
            await asyncio.sleep(0.05)
    return last
