"""How many connections a user may have over two real instances, one of which is killed."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.support import sdk
from tests.cluster.support.harness import CONFIG, Cluster, running
from tests.cluster.support.processes import eventually
from tests.cluster.support.raw_client import RawClient, token

pytestmark = pytest.mark.asyncio


@pytest.fixture(scope="module")
def oldest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two instances at which the oldest connection of a user gives way."""
    config = CONFIG | {"max_connections_per_user": 1, "connection_limit_policy": "oldest"}
    with running(Cluster(tmp_path_factory.mktemp("oldest"), config, "flotilla", "flotilla")) as cluster:
        yield cluster


async def test_one_connection_each_and_a_new_one_after_a_kill(tmp_path: Path) -> None:
    """The second is final for its client; when the first one's instance dies, its client gets in at the other."""
    config = CONFIG | {"max_connections_per_user": 1}
    with running(Cluster(tmp_path, config, "flotilla", "flotilla")) as cluster:
        async with RawClient(cluster[0].url) as one, RawClient(cluster[1].url) as two:
            await one.connect("ann")
            await two.send(two.command("connect", token=token("ann")))
            assert await two.closed() == (3504, "connection limit")
            cluster[0].kill()

            async def back_in() -> bool:
                async with RawClient(cluster[1].url) as three:
                    reply = await three.call("connect", token=token("ann"))  # never closed with 3504
                    return "connect" in reply

            for _ in range(20):
                if await back_in():
                    break
            else:
                raise AssertionError("ann was kept out by her dead connection")


async def test_the_oldest_goes_and_stays_away(
    oldest: Cluster, make_client: sdk.MakeClient, fresh: Callable[[str], str]
) -> None:
    """With the policy `oldest`: a new tab takes over from the old one, which does not fight back."""
    user = fresh("")
    first = make_client(oldest[0].url, lambda _: token(user))
    await first.connect()
    await first.seen.event("connected")
    async with RawClient(oldest[1].url) as second:
        await second.connect(user)
        assert (await first.seen.event("disconnected"))["code"] == 3504
        await second.round_trip()
        await eventually(lambda: len(first.seen.named("connected")) == 1, "it stays away")
