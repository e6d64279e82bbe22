"""A server that is a replica, or has become one, decides nothing: what it has may be old.

Two real servers stand for what a failover leaves behind: a demoted master that still has its data, its run's trust and
its open connections, and answers reads.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.engine.broker import Broker
from flotilla.realtime.engine.witness import Watch
from flotilla.store import Shard, Store, StoreRefused, StoreUnavailable, placement_of
from flotilla.store.fitness import is_master
from flotilla.store.partitions import Partitions
from tests.store.redis_fleet import Server, wait_for
from tests.store.redis_process import until

pytestmark = pytest.mark.asyncio

NOBODY = ("127.0.0.1", "1")  # a master that is not there
ROOM = "room"
OPTIONS = ChannelOptions(history_size=100, history_ttl=600, history_meta_ttl=7200)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    made = [Server(tmp_path / name) for name in ("one", "two")]
    yield made[0], made[1]
    for server in made:
        server.kill()


def url_of(server: Server) -> str:
    return f"redis://{server.at}/0"


def follow(replica: Server, master: Server) -> None:
    replica.ask("REPLICAOF", master.host, master.port)
    wait_for(lambda: b"master_link_status:up" in replica.ask("INFO", "replication"), "a replica in step")


@pytest_asyncio.fixture
async def store(servers: tuple[Server, Server]) -> AsyncIterator[Store]:
    """Of the first server."""
    made = Store([url_of(servers[0])])
    yield made
    await made.close()


async def test_a_demoted_master_is_refused_before_anything_is_read_there(servers: tuple[Server, Server]) -> None:
    """It lost its new master before the two were in step: by its partitions alone, it is what it was."""
    shards = [Shard(0, url_of(servers[0]), partitions=Partitions()) for _ in range(2)]
    try:
        await shards[0].execute("SET", "key", "old")
        servers[0].ask("REPLICAOF", *NOBODY)
        with pytest.raises(StoreRefused) as told:
            await shards[1].execute("GET", "key")
        assert told.value.code == "READONLY"
        with pytest.raises(StoreUnavailable, match="replica"):
            shards[1].execute_sync("GET", "key")
        servers[0].ask("REPLICAOF", "NO", "ONE")

        async def read() -> bool:
            try:
                return bool(await shards[1].execute("GET", "key") == b"old")
            except StoreUnavailable:
                return False

        await until(read)
    finally:
        for shard in shards:
            await shard.close()


async def test_a_demoted_master_says_no_position_over_a_connection_that_is_open(
    servers: tuple[Server, Server], store: Store
) -> None:
    """To read a stream is to renew its life, which a replica refuses."""
    broker = Broker(store)
    await broker.publish(ROOM, b'{"data":"1"}', OPTIONS)
    servers[0].ask("REPLICAOF", *NOBODY)
    with pytest.raises(StoreUnavailable, match="READONLY"):
        await broker.history(ROOM, OPTIONS, limit=-1)


async def test_an_instance_leaves_a_demoted_master_though_it_only_reads(
    servers: tuple[Server, Server], store: Store
) -> None:
    """By hand, or by the managed service that did it, and without the end of any connection."""
    old, new = servers
    follow(new, old)
    watch = Watch(store, lambda: "a", _nobody_else)
    watch.start()
    try:
        await until(lambda: watch.witness(0).living)
        new.ask("REPLICAOF", "NO", "ONE")
        other = Store([url_of(new)])
        try:
            await Broker(other).publish(ROOM, b'{"data":"1"}', OPTIONS)
        finally:
            await other.close()
        follow(old, new)

        async def refused() -> bool:
            try:
                await store.first.execute("GET", placement_of(ROOM).key("idempotency"))
            except StoreRefused as error:
                return error.code == "READONLY"
            except StoreUnavailable:
                pass
            return False

        await until(refused, 15)
    finally:
        await watch.close()


async def _nobody_else() -> list[str]:
    return ["a"]


async def test_a_server_that_does_not_say_its_role_is_taken_for_a_master() -> None:
    assert is_master(b"# Replication\r\nrole:master\r\n")
    assert not is_master(b"role:slave\r\nmaster_link_status:up\r\n")
    assert is_master(b"")
