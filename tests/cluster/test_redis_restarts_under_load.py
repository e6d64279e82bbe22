"""Redis restarted under load, with its append-only file as the embedded one has it (`everysec`), or with less.

What was answered with success is still there, or, where Redis has lost it, the epoch is another and every subscriber
is told: never a silent loss. Two real instances, publishers that repeat what is not answered, subscribers on both.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from cent import CentError

from flotilla.store import placement_of
from tests.cluster.support.api_client import Api
from tests.cluster.support.harness import CONFIG, Cluster, running
from tests.cluster.support.processes import eventually
from tests.cluster.support.raw_client import RawClient
from tests.cluster.test_across_instances import Crowd
from tests.cluster.test_across_redis_outages import WITHOUT_PERSONAL, Fresh, told_to_begin_anew, well

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(150)]

PUBLISHERS = 4
BEFORE = 60  # publications answered before Redis goes, and after it is back
OPEN = CONFIG["namespaces"]["open"] | {"history_size": 100_000}
LONG = WITHOUT_PERSONAL | {"namespaces": {"open": OPEN}, "recovery_max_publications": 100_000}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    home = tmp_path_factory.mktemp("restarts")
    with running(Cluster(home, LONG, "flotilla", "flotilla", fsync="everysec")) as cluster:
        yield cluster


class Load:
    """Publishers on both instances. `answered`: number → (epoch, offset), as they were told."""

    def __init__(self, pair: Cluster, channel: str) -> None:
        self.answered: dict[int, tuple[str, int]] = {}
        self._pair = pair
        self._channel = channel
        self._numbers = iter(range(1_000_000))
        self._enough = False

    async def more(self, count: int = BEFORE) -> None:
        """Wait until so many more were answered."""
        wanted = len(self.answered) + count
        await eventually(lambda: len(self.answered) >= wanted, f"{count} more publications are answered", 60)

    async def _publish(self, api: Api) -> None:
        while not self._enough:
            number = next(self._numbers)
            while number not in self.answered:
                try:
                    placed = await api.say(self._channel, number, idempotency_key=f"{self._channel}-{number}")
                    self.answered[number] = (placed.epoch, placed.offset)
                except CentError:
                    if self._enough:
                        return

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Publish for the time of a block; what is under way at its end is finished."""
        async with Api(self._pair[0].http) as one, Api(self._pair[1].http) as two:
            tasks = [asyncio.create_task(self._publish(api)) for api in (one, two) * (PUBLISHERS // 2)]
            try:
                yield
            finally:
                self._enough = True
                await asyncio.gather(*tasks)

    async def lost(self) -> list[int]:
        """What was answered and Redis does not have in that place."""
        return await asyncio.to_thread(self._lost)

    def _lost(self) -> list[int]:
        with self._pair.redis.client() as client:
            entries = client.xrange(placement_of(self._channel).key("stream"))
            (epoch,) = client.hmget(placement_of(self._channel).key("meta"), "e")
        kept = {msgspec.json.decode(fields[b"d"])["data"]: int(id.partition(b"-")[0]) for id, fields in entries}
        return [n for n, placed in self.answered.items() if (epoch.decode(), kept.get(n)) != placed]


async def everything(client: RawClient, channel: str, load: Load) -> None:
    """Wait until a subscriber has all that was answered, each once and in order."""
    top = max(offset for _, offset in load.answered.values())
    await eventually(lambda: len(client.publications(channel)) >= top, "it has all", 60)
    assert [publication["offset"] for publication in client.publications(channel)] == list(range(1, top + 1))


@pytest.mark.parametrize("way", ["ended in order", "killed"])
async def test_nothing_answered_is_lost_when_redis_restarts_with_its_file(
    pair: Cluster, fresh: Fresh, way: str
) -> None:
    """Killed: unless Redis had put a write off because the disk was busy, and then everybody is told."""
    channel = fresh("open")
    await well(pair)
    load = Load(pair, channel)
    async with Crowd() as crowd:
        clients = [*await crowd.join(pair[0], channel, "ann"), *await crowd.join(pair[1], channel, "bob")]
        async with load.running():
            await load.more()
            await asyncio.to_thread(pair.redis.kill if way == "killed" else pair.redis.stop)
            await asyncio.to_thread(pair.redis.start)
            await load.more()
        lost = await load.lost()
        epochs = {epoch for epoch, _ in load.answered.values()}
        if way == "killed" and lost:
            assert len(epochs) == 2
            for client in clients:
                await told_to_begin_anew(client, channel)
            return
        assert lost == [] and len(epochs) == 1
        for client in clients:
            await everything(client, channel, load)
            assert client.pushes(channel, "unsubscribe") == []


@pytest.mark.parametrize("kept", ["an older snapshot", "nothing"])
async def test_what_redis_loses_under_load_is_told_to_everybody(pair: Cluster, fresh: Fresh, kept: str) -> None:
    """The epoch is another, whoever publishes first; what is answered from then on is there."""
    channel = fresh("open")
    await well(pair)
    load = Load(pair, channel)
    async with Crowd() as crowd:
        clients = [*await crowd.join(pair[0], channel, "ann"), *await crowd.join(pair[1], channel, "bob")]
        async with load.running():
            await load.more()
            snapshot = await asyncio.to_thread(pair.redis.snapshot)
            await load.more()
            (before,) = {epoch for epoch, _ in load.answered.values()}
            await asyncio.to_thread(pair.redis.restore, snapshot if kept != "nothing" else None)
            for client in clients:
                await told_to_begin_anew(client, channel)
            await load.more()
        last = load.answered[max(load.answered)]
        assert last[0] != before
        gone = set(await load.lost())
        assert gone and {load.answered[n][0] for n in gone} == {before}
