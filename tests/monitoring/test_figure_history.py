"""The figures of the last hour: kept in Redis for all instances, bounded, and not lost while Redis is away."""

import json
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import Client as Browser

from flotilla.monitoring import figure_history, live_figures
from flotilla.monitoring.figure_history import Recorder, read, table
from flotilla.monitoring.live_figures import Publisher
from flotilla.realtime.access.channels import options_for
from flotilla.realtime.engine.broker import Broker
from flotilla.realtime.node import node as node_module
from flotilla.realtime.node.node import Node
from flotilla.store import Store
from tests.realtime.client.peers import Peer
from tests.store.redis_process import RedisProcess, until

URL = "/admin/flotilla_monitoring/cluster/?history"
NOW = 1_800_000_000.0  # seconds


def figures(instance: str, connections: int = 1) -> dict[str, Any]:
    return {"instance": instance, "connections": connections}


async def taken(broker: Broker, now: float = NOW) -> list[tuple[float, str, int]]:
    samples = await sync_to_async(read)(broker, now)
    return [(one["at"] - NOW, one["instance"], one["connections"]) for one in samples]


async def test_samples_of_all_instances_stand_side_by_side(store: Store) -> None:
    """By time and name; those that are older than an hour are not told."""
    broker = Broker(store)
    for instance in ("b", "a"):
        recorder = Recorder()
        for back in (3700, 3590, 9):
            recorder.add(figures(instance, back), NOW - back)
        await recorder.send(broker)
    assert await taken(broker) == [(-3590, "a", 3590), (-3590, "b", 3590), (-10, "a", 9), (-10, "b", 9)]


async def test_there_is_a_bound(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest samples go first."""
    options = figure_history.OPTIONS.__class__(history_size=5, history_ttl=60.0)
    monkeypatch.setattr(figure_history, "OPTIONS", options)
    broker, recorder = Broker(store), Recorder()
    for number in range(12):
        recorder.add(figures("a", number), NOW + 10 * number)
    await recorder.send(broker)
    assert [connections for _, _, connections in await taken(broker, NOW + 120)] == [7, 8, 9, 10, 11]


async def test_what_redis_does_not_take_follows_when_it_does(mortal_redis: RedisProcess) -> None:
    """With the times at which it was taken, an hour of it at most."""
    store = Store([mortal_redis.url])
    broker, recorder = Broker(store), Recorder()
    recorder.add(figures("a", 1), NOW - 30)
    await recorder.send(broker)
    mortal_redis.kill()
    for number in range(2, 500):
        recorder.add(figures("a", number), NOW)
    await recorder.send(broker)
    mortal_redis.start()

    async def sent() -> bool:
        await recorder.send(broker)
        return not recorder._kept

    await until(sent)
    samples = await taken(broker)
    assert len([one for one in samples if one[0] == 0]) == figure_history.PER_INSTANCE
    await store.close()


async def test_an_instance_takes_samples_as_it_publishes(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one at once."""
    monkeypatch.setattr(node_module, "_node", (node_module.os.getpid(), node))
    monkeypatch.setattr(live_figures, "EVERY", 0.05)
    await Peer(node).connect()
    publisher = Publisher()
    await publisher.start()

    async def told() -> list[dict[str, Any]]:
        return await sync_to_async(read)(node.broker)

    await until(told)
    await publisher.stop()
    (sample,) = await told()
    assert (sample["instance"], sample["connections"]) == ("test", 1)
    assert sample["p99"] is None


async def test_nobody_subscribes_to_it(node: Node) -> None:
    """Staff neither; it is read by the page."""
    assert not await live_figures.may_watch(User(is_staff=True), figure_history.CHANNEL, None)
    assert not options_for(figure_history.CHANNEL, node.config).has_history


def test_a_table_names_the_figures_once() -> None:
    """Whatever a sample of another release lacks, or has more."""
    found = table([{"at": 1, "instance": "a", "p50": 2.5}, {"at": 2, "instance": "b", "new": 1}])
    assert found == {"names": ["at", "instance", "p50", "new"], "rows": [[1, "a", 2.5, None], [2, "b", None, 1]]}
    assert table([]) == {"names": [], "rows": []}


@pytest.mark.django_db
class TestPage:
    def test_staff_get_it_and_nobody_else(self, client: Browser, node_of_the_process: None) -> None:
        assert client.get(URL).status_code == 302
        client.force_login(User.objects.create_user("u", is_staff=True))
        answer = client.get(URL)
        assert answer.status_code == 200
        assert set(json.loads(answer.content)) == {"names", "rows"}
        assert "no-store" in answer["Cache-Control"]


@pytest.fixture
def node_of_the_process(redis_url: str, configured: Any) -> None:
    """The page reads from the Redis that the process is configured with."""
