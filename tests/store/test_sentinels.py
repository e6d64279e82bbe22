"""A failover by real sentinels: every client goes over at once, while the old master still takes whatever it is given.

After a planned one the sentinels turn the old master into a replica only some ten seconds later; until then what is
written there is lost. So "at once" is shown without a clock: whoever is on the new master while the old one still calls
itself a master went over by the sentinels' word.
"""

import asyncio
import contextlib
import re
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from flotilla.realtime.engine.layer import ChannelLayer
from flotilla.store import Shard, StoreUnavailable
from flotilla.store.partitions import Partitions
from flotilla.store.pools import guide_of
from flotilla.store.sentinels import Said, Sentinels
from flotilla.store.urls import layer_host
from tests.store.redis_fleet import MASTER, Fleet, Server
from tests.store.redis_process import until

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(150)]

MOVES_WITHIN = 30.0  # seconds a failover may take on a busy machine


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """New for each test: after a failover it takes ten seconds until another is possible."""
    made = Fleet(tmp_path, replicas=1)
    yield made
    made.close()


@pytest_asyncio.fixture
async def shard(fleet: Fleet) -> AsyncIterator[Shard]:
    made = Shard(0, fleet.url, partitions=Partitions())
    yield made
    await made.close()


async def reached(shard: Shard) -> set[int]:
    """The ports of the servers that coroutines and threads speak to; empty while there is none."""
    with contextlib.suppress(StoreUnavailable):
        by_link = await shard.execute("CONFIG", "GET", "port")
        by_thread = await asyncio.to_thread(shard.execute_sync, "CONFIG", "GET", "port")
        return {int(by_link[1]), int(by_thread[1])}
    return set()


async def another_master(fleet: Fleet, old: Server) -> Server:
    await until(lambda: fleet.master() is not old, MOVES_WITHIN, "another master")
    return fleet.master()


async def both_on(shard: Shard, server: Server) -> None:
    async def there() -> bool:
        return await reached(shard) == {server.port}

    await until(there, MOVES_WITHIN, "coroutines and threads on the new master")


async def test_coroutines_and_threads_go_over_while_the_old_master_still_takes_writes(
    fleet: Fleet, shard: Shard
) -> None:
    old = fleet.master()
    await both_on(shard, old)
    fleet.fail_over()
    await both_on(shard, await another_master(fleet, old))
    assert old.is_master()


async def test_subscribers_go_over_while_the_old_master_still_takes_writes(fleet: Fleet) -> None:
    old = fleet.master()
    layer = ChannelLayer(hosts=[layer_host(fleet.url)])
    mailbox = await layer.new_channel()
    back = asyncio.Event()
    layer.loop_layer().on_reconnect = lambda _: back.set()
    try:
        fleet.fail_over()
        new = await another_master(fleet, old)
        await until(lambda: new.ask("PUBSUB", "NUMSUB", mailbox)[1], MOVES_WITHIN, "a subscriber on the new master")
        assert old.is_master() and back.is_set()
        assert not old.ask("PUBSUB", "NUMSUB", mailbox)[1]
        await layer.send(mailbox, {"type": "word"})
        assert await asyncio.wait_for(layer.receive(mailbox), 5) == {"type": "word"}
    finally:
        await layer.flush()


async def test_a_sentinel_that_hangs_keeps_nobody_back(fleet: Fleet, shard: Shard) -> None:
    old = fleet.master()
    await both_on(shard, old)
    fleet.sentinels[2].send(signal.SIGSTOP)
    try:
        fleet.fail_over()
        await both_on(shard, await another_master(fleet, old))
        assert old.is_master()
    finally:
        fleet.sentinels[2].send(signal.SIGCONT)


async def test_a_call_that_is_under_way_to_the_old_master_is_told_at_once(fleet: Fleet, shard: Shard) -> None:
    """It may or may not have happened; nobody waits for what the old master says of it."""
    old = fleet.master()
    await both_on(shard, old)
    old.ask("CLIENT", "PAUSE", 60_000, "WRITE")
    try:
        call = asyncio.ensure_future(shard.execute("SET", "nobody", "knows"))
        shard._link().moved()
        with pytest.raises(StoreUnavailable, match="another master"):
            await call
    finally:
        old.ask("CLIENT", "UNPAUSE")


async def test_nothing_that_was_answered_through_a_planned_failover_is_lost(fleet: Fleet, shard: Shard) -> None:
    """Calls wait from the sentinels' word that they are about to promote a replica until it is the master."""
    old = fleet.master()
    await both_on(shard, old)
    enough, faults = threading.Event(), []

    async def write() -> int:
        count = 0
        while not enough.is_set():
            try:
                count = await shard.execute("RPUSH", "coroutines", count)
            except StoreUnavailable as error:
                faults.append(error)
        return count

    def write_in_thread() -> int:
        count = 0
        while not enough.is_set():
            try:
                count = shard.execute_sync("RPUSH", "threads", count)
            except StoreUnavailable as error:
                faults.append(error)
        return count

    writing = asyncio.gather(write(), asyncio.to_thread(write_in_thread))
    try:
        await until(lambda: old.ask("LLEN", "coroutines") and old.ask("LLEN", "threads"))
        fleet.fail_over()
        new = await another_master(fleet, old)
        at = [new.ask("LLEN", name) for name in ("coroutines", "threads")]
        await until(lambda: all(new.ask("LLEN", n) > k for n, k in zip(("coroutines", "threads"), at, strict=True)))
    finally:
        enough.set()
        counts = await writing
    assert old.is_master(), "they went over only when the old master ended"
    assert [new.ask("LLEN", name) for name in ("coroutines", "threads")] == counts
    assert faults == []


async def test_calls_for_a_master_that_is_not_replaced_go_to_it_after_a_while(fleet: Fleet, shard: Shard) -> None:
    """The sentinel's plan came to nothing."""
    await both_on(shard, fleet.master())
    shard._link().leaving()
    shard._threads.leaving()
    await asyncio.sleep(0)
    call = asyncio.ensure_future(shard.execute("PING"))
    done, _ = await asyncio.wait([call], timeout=0.3)
    assert not done
    assert await asyncio.wait_for(call, 10) == b"PONG"
    assert await asyncio.to_thread(shard.execute_sync, "PING") == b"PONG"


async def test_a_promotion_that_another_sentinel_takes_back_is_taken_back_here(fleet: Fleet, shard: Shard) -> None:
    """One that did not hear of it makes the new master a replica again."""
    master = fleet.master()
    (replica,) = (server for server in fleet.servers if server is not master)
    await both_on(shard, master)
    behind = guide_of(fleet.url)
    assert isinstance(behind, Sentinels) and behind._said is not None

    async def see(said: Said) -> None:
        behind._seen_until = asyncio.get_running_loop().time() + 600
        behind._learn(said)

    await asyncio.wrap_future(behind._speaker.run(see(Said(behind._said.epoch + 1, (replica.host, replica.port)))))
    await both_on(shard, master)


async def test_sentinels_that_were_set_up_again_with_another_master_are_followed(tmp_path: Path) -> None:
    """They count their decisions from the beginning, and the old master is there and takes writes."""
    lines = [f"sentinel config-epoch {MASTER} 5", "sentinel current-epoch 5"]
    fleet = Fleet(tmp_path, replicas=1, sentinel_lines=lines)
    shard = Shard(0, fleet.url, partitions=Partitions())
    try:
        old = fleet.master()
        (other,) = (server for server in fleet.servers if server is not old)
        await both_on(shard, old)
        other.ask("REPLICAOF", "NO", "ONE")
        for sentinel in fleet.sentinels:
            sentinel.kill()
            conf = sentinel.folder / "conf"
            own = [line for line in conf.read_text().splitlines() if "sentinel" not in line]
            conf.write_text("\n".join([*own, f"sentinel monitor {MASTER} {other.host} {other.port} 2"]) + "\n")
        for sentinel in fleet.sentinels:
            sentinel.start()
        await both_on(shard, other)
        assert old.is_master()
    finally:
        await shard.close()
        fleet.close()


async def test_a_killed_master_is_followed(fleet: Fleet, shard: Shard) -> None:
    old = fleet.master()
    await both_on(shard, old)
    old.kill()
    await both_on(shard, await another_master(fleet, old))


async def test_sentinels_that_let_nobody_subscribe_are_still_asked(tmp_path: Path) -> None:
    """As it was before anybody listened to them: at each new connection."""
    lines = ["user default reset on nopass +@all -subscribe &*"]
    fleet = Fleet(tmp_path, replicas=1, sentinels=1, sentinel_lines=lines)
    shard = Shard(0, fleet.url, partitions=Partitions())
    try:
        await both_on(shard, fleet.master())
    finally:
        await shard.close()
        fleet.close()


async def test_a_user_that_may_not_hear_of_it_beforehand_hears_of_it_afterwards(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rights = "resetchannels &+switch-master &+promoted-slave -@all +auth +ping +subscribe"
    rights += " +sentinel|master +sentinel|get-master-addr-by-name"
    fleet = Fleet(tmp_path, replicas=1, sentinel_lines=[f"user flotilla on >word {rights}"])
    shard = Shard(0, f"{fleet.url}?sentinel_username=flotilla&sentinel_password=word", partitions=Partitions())
    try:
        old = fleet.master()
        await both_on(shard, old)
        fleet.fail_over()
        await both_on(shard, await another_master(fleet, old))
        assert old.is_master()
        told = [record for record in caplog.records if "failovers lose more than they must" in record.getMessage()]
        assert len(told) == 1
    finally:
        await shard.close()
        fleet.close()


async def test_a_user_of_the_sentinels_with_the_documented_rights_is_enough(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "SCALE_OUT.md").read_text()
    (rights,) = re.findall(r"`ACL SETUSER flotilla on >word (.*)`", text)
    fleet = Fleet(tmp_path, replicas=1, sentinel_lines=[f"user flotilla on >word {rights}"])
    url = f"{fleet.url}?sentinel_username=flotilla&sentinel_password=word"
    shard = Shard(0, url, partitions=Partitions())
    try:
        old = fleet.master()
        await both_on(shard, old)
        fleet.fail_over()
        await both_on(shard, await another_master(fleet, old))
        assert old.is_master()
    finally:
        await shard.close()
        fleet.close()
