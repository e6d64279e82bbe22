"""A failover by real sentinels: every client goes over at once, while the old master still takes whatever it is given.

After a planned one the sentinels turn the old master into a replica only some ten seconds later; until then what is
written there is lost. So "at once" is shown without a clock: whoever is on the new master while the old one still calls
itself a master went over by the sentinels' word.
"""

import asyncio
import contextlib
import re
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from flotilla.realtime.engine.layer import ChannelLayer
from flotilla.store import Shard, StoreUnavailable
from flotilla.store.partitions import Partitions
from flotilla.store.urls import layer_host
from tests.store.redis_fleet import Fleet, Server
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
