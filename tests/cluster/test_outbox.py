"""The outbox with real instances: whoever relays is killed, Redis is restarted or comes back older, and what was
committed is in history, once in each epoch and in the order of commits."""

import itertools
import json
import random
import signal
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connections, transaction

from flotilla.realtime.models import OutboxRelay, OutboxRow
from flotilla.realtime.outbox.lease import TTL
from flotilla.realtime.outbox.rows import write
from tests.cluster.support.harness import API_KEY, CONFIG, Cluster, Instance, running
from tests.cluster.support.processes import PATIENCE, Process, wait_until
from tests.host.support.postgres import Postgres, a_postgres

ALIAS = "outbox_of_cluster"
CHANNELS = 5
KEPT = {"history_size": 100_000, "history_ttl": "10m"}
WITH_OUTBOX = {**CONFIG, "namespaces": {**CONFIG["namespaces"], "rows": KEPT}}


class Relaying(Process):
    """`manage.py relay` as a process of its own."""

    def __init__(self, home: Path, env: dict[str, str]) -> None:
        super().__init__("relay", home)
        self._env = env | {"INSTANCE_ID": "relay"}

    def start(self) -> None:
        """Start it; it holds the lease a moment later."""
        self.spawn([sys.executable, "-m", "django", "relay"], self._env)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A server for the module."""
    with a_postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@contextmanager
def known(given: dict[str, Any], blocker: Any) -> Iterator[None]:
    """The cluster's database, for the test's own process."""
    connections.databases[ALIAS] = connections.configure_settings({"default": given})["default"]
    try:
        with blocker.unblock():
            yield
    finally:
        connections[ALIAS].close()
        del connections[ALIAS]
        del connections.databases[ALIAS]


@pytest.fixture(params=["postgresql", "sqlite"])
def two(request: pytest.FixtureRequest, tmp_path: Path, django_db_blocker: Any) -> Iterator[Cluster]:
    """Two instances on a database of their own."""
    with made(request, tmp_path, django_db_blocker, WITH_OUTBOX, "flotilla", "flotilla") as cluster:
        yield cluster


@contextmanager
def made(
    request: pytest.FixtureRequest, home: Path, blocker: Any, config: dict[str, Any], *servers: str
) -> Iterator[Cluster]:
    """Instances on the database that the test is about."""
    if request.param == "sqlite":
        given: dict[str, Any] = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(home / "db.sqlite3")}
        given["OPTIONS"] = {"timeout": 20, "transaction_mode": "IMMEDIATE"}
        address = f"sqlite:///{home}/db.sqlite3"
    else:
        server: Postgres = request.getfixturevalue("postgres")
        given = {"ENGINE": "django.db.backends.postgresql", "NAME": "bazaar", "USER": "bazaar"}
        given |= {"HOST": "127.0.0.1", "PORT": str(server.port)}
        address = f"postgresql://bazaar@{server.address}/bazaar"
    with known(given, blocker):
        if request.param != "sqlite":  # another test's rows would be sent to this one's Redis
            with connections[ALIAS].cursor() as cursor:
                cursor.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        with running(Cluster(home, config, *servers, DATABASE_URL=address)) as cluster:
            yield cluster


class Writers:
    """Threads that write rows in concurrent transactions, some rolled back: as long as the block lasts, and each so
    many at least. What they have committed is in the table, and so is its order."""

    def __init__(self, count: int, least: int) -> None:
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(number, least)) for number in range(count)]

    def __enter__(self) -> "Writers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _write(self, writer: int, least: int) -> None:
        chance = random.Random(writer)
        with closing(connections[ALIAS]):
            for number in itertools.takewhile(lambda n: n < least or not self._over.is_set(), itertools.count()):
                channels = chance.sample(range(CHANNELS), 2)
                try:
                    with transaction.atomic(using=ALIAS):
                        for channel in channels:
                            write(f"rows:{channel}", b'{"data":"%d-%d"}' % (writer, number), {}, using=ALIAS)
                        if chance.random() < 0.3:
                            raise Undone
                except Undone:
                    continue
                time.sleep(chance.uniform(0, 0.02))


class Undone(Exception):
    """A rollback."""


def committed(channel: int) -> list[str]:
    """What was committed in a channel, in the order of commits."""
    rows = OutboxRow.objects.using(ALIAS).filter(channel=f"rows:{channel}").order_by("position")
    return [json.loads(bytes(row.body or b""))["data"] for row in rows]


def history(instance: Instance, channel: int) -> list[str]:
    """What the channel's history has."""
    asked = json.dumps({"channel": f"rows:{channel}", "limit": -1}).encode()
    request = urllib.request.Request(f"{instance.http}/api/history", asked, {"X-API-Key": API_KEY})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return [one["data"] for one in json.load(answer)["result"].get("publications", [])]


def holder() -> str:
    """The name of the instance that relays, "" for nobody."""
    try:
        return str(OutboxRelay.objects.using(ALIAS).values_list("holder", flat=True).get()).rpartition(".")[0]
    except (OutboxRelay.DoesNotExist, DatabaseError):
        return ""


def relaying(cluster: Cluster) -> Instance:
    """The instance that relays."""
    wait_until(lambda: holder() != "", "somebody relays")
    return next(one for one in cluster.instances if one.name == holder())


def all_sent() -> bool:
    """Whether nothing waits."""
    return not OutboxRow.objects.using(ALIAS).filter(sent_at=None).exists()


def require_everything(instance: Instance) -> None:
    """Every channel's history is what was committed, in that order, once."""
    for channel in range(CHANNELS):
        assert history(instance, channel) == committed(channel)


def test_the_relaying_instance_is_killed_and_another_goes_on(two: Cluster) -> None:
    """When its lease has run out; nothing is lost, doubled, or out of order. One that ends in order is followed at
    once."""
    with Writers(3, 150):
        first = relaying(two)
        wait_until(lambda: OutboxRow.objects.using(ALIAS).exclude(sent_at=None).count() > 50, "rows are sent")
        first.kill()
        wait_until(lambda: holder() not in ("", first.name), "the other instance relays", TTL + PATIENCE)
    wait_until(all_sent, "all rows are sent")
    second = relaying(two)
    assert second is not first
    first.start()
    require_everything(second)
    second.send(signal.SIGTERM)
    second.wait()
    assert holder() != second.name  # it has given the lease back, which would run for seconds
    wait_until(lambda: holder() == first.name, "the first one relays again")


def test_redis_is_restarted_and_comes_back_older(two: Cluster) -> None:
    """While rows are written and relayed, and the relaying instance is killed in between."""
    with Writers(3, 150):
        wait_until(lambda: OutboxRow.objects.using(ALIAS).exclude(sent_at=None).count() > 30, "rows are sent")
        two.redis.kill()
        two.redis.start()
        snapshot = two.redis.snapshot()
        sent = OutboxRow.objects.using(ALIAS).exclude(sent_at=None).count()
        wait_until(lambda: OutboxRow.objects.using(ALIAS).exclude(sent_at=None).count() > sent + 30, "rows are sent")
        two.redis.restore(snapshot)
        relaying(two).kill()
    two.made_well()
    wait_until(all_sent, "all rows are sent")
    wait_until(lambda: all(history(two[0], one) == committed(one) for one in range(CHANNELS)), "all is there")
    require_everything(two[1])
    rows = OutboxRow.objects.using(ALIAS).all()
    assert len({(row.channel, row.epoch) for row in rows}) == len({row.channel for row in rows})


@pytest.fixture(params=["postgresql"])
def silent(request: pytest.FixtureRequest, tmp_path: Path, django_db_blocker: Any) -> Iterator[Cluster]:
    """An instance that relays nothing."""
    config = {**WITH_OUTBOX, "relay": False}
    with made(request, tmp_path, django_db_blocker, config, "flotilla") as cluster:
        yield cluster


def test_a_relay_of_its_own(silent: Cluster, tmp_path: Path) -> None:
    """Where serving processes may not; one more waits for the first to end, and goes on at once."""
    first, second = Relaying(tmp_path, silent.env), Relaying(tmp_path, silent.env)
    with Writers(1, 50):
        pass
    assert not OutboxRow.objects.using(ALIAS).exclude(sent_at=None).exists()
    try:
        first.start()
        wait_until(all_sent, "all rows are sent")
        require_everything(silent[0])
        second.start()
        first.send(signal.SIGTERM)
        assert first.wait() == 0
        with Writers(1, 50):
            pass
        wait_until(all_sent, "all rows are sent")
        require_everything(silent[0])
        second.send(signal.SIGINT)
        assert second.wait() == 0
    finally:
        for one in (first, second):
            one.stop()
