"""The table of who is blocked: told and read, true through a Redis that is away, empty or older."""

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Any

import pytest
import pytest_asyncio

from flotilla.realtime.blocks import blocklist
from flotilla.realtime.blocks.table import Blocks
from flotilla.realtime.protocol.codes import CommandError
from flotilla.store import Store, StoreUnavailable
from tests.store.redis_process import RedisProcess, until

pytestmark = pytest.mark.asyncio


class Instance:
    """A table, and who was ended because it was read."""

    def __init__(self, store: Store) -> None:
        self.now = 0.0
        self.ended: list[str] = []
        self.blocks = Blocks(store, self._end, clock=lambda: self.now)

    async def _end(self, names: Collection[str]) -> dict[str, int]:
        self.ended += names
        return dict.fromkeys(names, 2)

    def keeps_out(self, user: str = "", address: str = "") -> bool:
        return bool(self.blocks.against(user, address))


async def add(store: Store, who: str, seconds: float = 60) -> int:
    return await asyncio.to_thread(blocklist.add, store, who, seconds, {})


@pytest_asyncio.fixture
async def instance(store: Store) -> AsyncIterator[Instance]:
    made = Instance(store)
    yield made
    await made.blocks.close()


class TestTheTable:
    async def test_users_and_addresses_until_their_time(self, instance: Instance) -> None:
        """The reason says until when; visitors are no user; IPv6 counts by /64."""
        instance.blocks.note("u:7", 60)
        instance.blocks.note("a:192.0.2.1", 30)
        instance.blocks.note("a:2001:db8::/64", 30)
        assert instance.blocks.against("7", "").startswith("blocked until 20")
        assert instance.keeps_out(address="192.0.2.1")
        assert instance.keeps_out("8", "2001:db8::1:2:3:4")
        assert not instance.keeps_out("8", "2001:db8:1::1")
        assert not instance.keeps_out("", "")
        assert not instance.keeps_out("x" * 1000, "not an address")
        instance.now = 31
        assert not instance.keeps_out(address="192.0.2.1")
        assert instance.keeps_out("7")
        assert instance.blocks.lift("u:7")
        assert not instance.blocks.lift("u:7")
        assert not instance.keeps_out("7")

    async def test_it_is_read_when_the_list_has_changed(self, instance: Instance, store: Store) -> None:
        """Who is new in it is ended here, who was told before is not ended twice; who was unblocked is out."""
        await add(store, "u:1", 100)
        await instance.blocks.known()
        assert instance.keeps_out("1")
        instance.blocks.note("u:2", 60)
        await add(store, "u:2")
        await add(store, "u:3")
        await instance.blocks.check()
        assert instance.ended == ["u:1", "u:3"]
        await asyncio.to_thread(blocklist.remove, store, "u:1")
        assert instance.keeps_out("1")
        await instance.blocks.check()
        assert not instance.keeps_out("1")
        commands = store.first.stats.commands
        await instance.blocks.check()
        assert store.first.stats.commands == commands + 1

    async def test_a_command_that_comes_after_the_list_was_read_says_who_was_ended_by_it(
        self, instance: Instance, store: Store
    ) -> None:
        """Not again for a later block of the same user, nor for somebody else."""
        await instance.blocks.known()
        first, second = await add(store, "u:1"), await add(store, "u:2")
        await instance.blocks.check()
        assert instance.blocks.note("u:1", 60, first) == 2
        assert instance.blocks.note("u:2", 60, second) == 2
        assert instance.blocks.note("u:3", 60, second) == 0
        assert instance.blocks.note("u:1", 90, await add(store, "u:1", 90)) == 0

    async def test_what_was_told_while_it_was_read_is_not_lost(
        self, instance: Instance, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The answer may be older than what was told."""
        await add(store, "u:1")
        read = blocklist.read

        async def slow(store: Store) -> Any:
            found = await read(store)
            if not instance.keeps_out("2"):
                await add(store, "u:2")
                instance.blocks.note("u:2", 60)
            return found

        monkeypatch.setattr(blocklist, "read", slow)
        await instance.blocks.check()
        assert instance.keeps_out("1")
        assert instance.keeps_out("2")

    async def test_it_looks_by_itself(self, instance: Instance, store: Store) -> None:
        """At the start, and soon when the connection was lost."""
        await add(store, "u:1")
        instance.blocks.start()
        await until(lambda: instance.keeps_out("1"))
        await add(store, "u:2")
        instance.blocks.check_soon()
        await until(lambda: instance.keeps_out("2"))
        instance.now = 1000
        instance.blocks.check_soon()
        await until(lambda: not len(instance.blocks))


class TestTheList:
    async def test_it_has_a_bound(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        """Another time for one who is in it is no other block, and what is over gives room."""
        monkeypatch.setattr(blocklist, "MAX_BLOCKS", 2)
        await add(store, "u:1", 0.05)
        await add(store, "u:2")
        await add(store, "u:2")

        async def room() -> bool:
            try:
                await add(store, "u:3")
            except CommandError as error:
                assert error.code == 106
                return False
            return True

        await until(room)
        with pytest.raises(CommandError):
            await add(store, "u:4")
        total, found = await asyncio.to_thread(blocklist.some, store, 0, 10)
        assert (total, sorted(block.who for block in found)) == (2, ["u:2", "u:3"])

    async def test_nothing_of_it_stays_in_redis(self, store: Store) -> None:
        """After the last block's end, but for the version."""
        await add(store, "u:1", 0.05)
        keys = blocklist._keys("ends", "about", "version")

        async def gone() -> bool:
            return [await store.first.execute("EXISTS", key) for key in keys] == [0, 0, 1]

        await until(gone)

    async def test_whom(self) -> None:
        """One of the two, and not too long."""
        assert blocklist.who_of(None, "::ffff:192.0.2.1") == "a:192.0.2.1"
        for user, address in ((None, ""), ("", ""), ("1", "192.0.2.1"), ("x" * 300, "")):
            with pytest.raises(ValueError, match=r"whom|characters"):
                blocklist.who_of(user, address)


class TestRedis:
    async def test_away_the_last_known_table_counts(self, mortal_redis: RedisProcess) -> None:
        """And nothing is known by an instance that never read it."""
        store = Store([mortal_redis.url], timeout=0.5)
        instance, late = Instance(store), Instance(store)
        await add(store, "u:1")
        await instance.blocks.known()
        mortal_redis.kill()
        with pytest.raises(StoreUnavailable):
            await instance.blocks.check()
        await instance.blocks.known()
        assert instance.keeps_out("1")
        with pytest.raises(StoreUnavailable):
            await late.blocks.known()
        await store.close()

    async def test_what_was_told_and_not_read_yet_is_not_lost(
        self, instance: Instance, store: Store, redis_process: RedisProcess
    ) -> None:
        """Redis loses the list right after the block, and right after one was lifted."""
        await instance.blocks.known()
        instance.blocks.note("u:1", 60, await add(store, "u:1"))
        instance.blocks.note("u:2", 60, await add(store, "u:2"))
        instance.blocks.lift("u:2", await asyncio.to_thread(blocklist.remove, store, "u:2"))
        redis_process.ask("FLUSHALL")
        await instance.blocks.check()
        _, found = await asyncio.to_thread(blocklist.some, store, 0, 10)
        assert [block.who for block in found] == ["u:1"]
        assert instance.keeps_out("1")
        assert instance.ended == []

    async def test_empty_it_is_given_the_blocks_again(self, store: Store, redis_process: RedisProcess) -> None:
        """By any that knows them, once, with the time that is left; and others read them."""
        instance, second, late = Instance(store), Instance(store), Instance(store)
        await add(store, "u:1", 60)
        await add(store, "a:192.0.2.1", 60)
        for one in (instance, second):
            await one.blocks.known()
        redis_process.ask("FLUSHALL")
        instance.now = second.now = 20
        for one in (instance, second, late):
            await one.blocks.check()
        assert late.keeps_out("1")
        assert late.keeps_out(address="192.0.2.1")
        total, (block, _) = await asyncio.to_thread(blocklist.some, store, 0, 10)
        assert total == 2
        seconds, _ = await store.first.execute("TIME")
        assert 30 < block.until - int(seconds) <= 41
        await asyncio.to_thread(blocklist.remove, store, "u:1")
        for one in (instance, second, late):
            await one.blocks.check()
            assert not one.keeps_out("1")
