"""A client on a slow link, in a channel that conflates: it is not ended, and gets the newest of each key."""

from collections.abc import Callable

import pytest
from cent import BatchRequest, PublishRequest

from tests.cluster.support.api_client import Api
from tests.cluster.support.harness import Cluster
from tests.cluster.support.narrow_link import Narrow
from tests.cluster.support.raw_client import RawClient

pytestmark = pytest.mark.asyncio

KEYS = [f"k{number}" for number in range(10)]
ROUNDS = 60
FILLER = "x" * 5_000  # 3 MB in all: three times as much as a client may leave unread
RATE = 100 * 1024  # bytes a second


class Keyed(PublishRequest):
    """A publication with a key."""

    __api_method__ = "publish"
    key: str


async def test_a_slow_client_gets_the_newest_of_each_key(
    cluster: Cluster, fresh: Callable[[str], str], api: Api
) -> None:
    """While one that reads gets everything. What the slow one was given last is a position that it recovers from."""
    channel = fresh("board")
    async with (
        Narrow(cluster[0].port, RATE) as door,
        RawClient(door.url) as slow,
        RawClient(cluster[0].url) as reads,
    ):
        await reads.connect("ann")
        epoch = (await reads.subscribe(channel))["epoch"]
        await slow.connect("bob")
        await slow.subscribe(channel)
        for number in range(ROUNDS):
            requests = [Keyed(channel=channel, data=f"{key} {number} {FILLER}", key=key) for key in KEYS]
            await api.batch(BatchRequest(requests=requests))
            await reads.push("pub", channel, offset=len(KEYS) * (number + 1))
        last = len(KEYS) * ROUNDS
        await slow.push("pub", channel, offset=last)

        assert [one["offset"] for one in reads.publications(channel)] == list(range(1, last + 1))
        found = slow.publications(channel)
        offsets = [one["offset"] for one in found]
        assert offsets == sorted(set(offsets)) and len(offsets) < last // 2
        assert [one["data"].split()[:2] for one in found[-len(KEYS) :]] == [[key, f"{ROUNDS - 1}"] for key in KEYS]
        assert not slow.pushes(channel, "unsubscribe")
        assert all(set(one) == {"data", "offset"} for one in found)

        await api.publish(Keyed(channel=channel, data="next", key="k3"))
        await slow.push("pub", channel, offset=last + 1, data="next")
        async with RawClient(cluster[1].url) as back:
            await back.connect("bob")
            result = await back.subscribe(channel, recover=True, epoch=epoch, offset=offsets[5])
            assert result["recovered"] is True
            wanted = [*range(last - 9, last - 6), *range(last - 5, last + 1), last + 1]
            assert [one["offset"] for one in result["publications"]] == wanted
