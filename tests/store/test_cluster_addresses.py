"""Addresses of clusters against real ones: TLS, users, IPv6, nodes under names, and addresses that lead elsewhere."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from flotilla.store import Script, Shard, Store, StoreRefused, StoreUnavailable, link, threads
from flotilla.store.partitions import Partitions
from flotilla.store.slots import key_slot, slot_of
from flotilla.store.urls import check_url, expanded, slot_in
from tests.store.redis_cluster import RedisCluster
from tests.store.redis_fleet import Certificates, Server, has_ipv6

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(150)]

PATIENT = 15.0  # seconds a call may take on a busy machine
PASSWORD = "p/w%3A"  # as it stands in a configuration
TWICE = Script("tests.twice_there", "return redis.call('INCRBY', KEYS[1], 2)")

ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    made = RedisCluster(tmp_path_factory.mktemp("cluster"), 2)
    yield made
    made.close()


async def use(url: str, *, timeout: float = PATIENT) -> None:
    """Coroutines and threads use every shard of a cluster. Raises what they raise."""
    assert check_url(url) is None
    urls = expanded([url])
    for number, one in enumerate(urls):
        shard = Shard(number, one, timeout, Partitions(None, number, len(urls)))
        place = shard.partitions.placements()[0] if shard.partitions else None
        assert place is not None
        key = place.key("n")
        try:
            await shard.execute("DEL", key)
            assert await shard.run(TWICE, [key], []) == 2
            assert await asyncio.to_thread(shard.run_sync, TWICE, [key], []) == 4
        finally:
            await shard.close()


async def test_tls_with_an_authority_and_a_client_certificate_and_a_user(
    certificates: Certificates, tmp_path: Path
) -> None:
    made = RedisCluster(tmp_path, 2, tls=certificates, password="word")
    try:
        await use(f"{made.url}&shards=4")
        for node in made.nodes:
            node.ask("ACL", "SETUSER", "ann", "on", f">{PASSWORD}", "~flotilla:*", "&flotilla*", *RIGHTS)
        await use(f"{made.url}&shards=4".replace(":word@", "ann:p%2Fw%253A@"))
        with pytest.raises(StoreUnavailable, match=r"(?i)certificate"):
            await use(f"{made.url.split('?')[0]}?tls=1&cert={certificates.client[0]}&key={certificates.client[1]}")
        with pytest.raises(StoreRefused, match="WRONGPASS") as refused:
            await use(made.url.replace(":word@", ":s3cret@"))
        assert "s3cret" not in str(refused.value)
    finally:
        made.close()


RIGHTS = ("+cluster|slots", "+cluster|nodes", "+cluster|info", "+info", "+ping", "+script|load", "+eval", "+evalsha")
RIGHTS += ("+del", "+incrby", "+hmget", "+hset", "+hdel", "+hsetnx", "+hgetall", "+pexpire", "+time")


async def test_a_user_that_may_not_ask_who_has_which_slot_is_told_so(cluster: RedisCluster) -> None:
    for node in cluster.nodes:
        node.ask("ACL", "SETUSER", "bob", "on", ">word", "~*", "&*", "+@all", "-cluster")
    with pytest.raises(StoreRefused, match="NOPERM"):
        await use(cluster.url.replace("://", "://bob:word@"))


async def test_nodes_that_announce_host_names_are_reached_by_them(tmp_path: Path) -> None:
    names = {"cluster-announce-hostname": "localhost", "cluster-preferred-endpoint-type": "hostname"}
    made = RedisCluster(tmp_path, 2, options=names)
    try:
        assert {holders[0][0] for _, _, *holders in made.nodes[0].ask("CLUSTER", "SLOTS")} == {b"localhost"}
        await use(f"{made.url}?shards=2")
        for node in made.nodes:
            node.ask("CONFIG", "SET", "cluster-announce-hostname", "")  # "?" from now on
        await use(f"{made.url}?shards=2")
        for node in made.nodes:
            node.ask("CONFIG", "SET", "cluster-preferred-endpoint-type", "unknown-endpoint")  # nothing at all
        await use(f"{made.url}?shards=2")
    finally:
        made.close()


async def test_a_server_by_itself_is_no_cluster(tmp_path: Path) -> None:
    server = Server(tmp_path)
    try:
        with pytest.raises(StoreRefused, match="without cluster mode") as refused:
            await use(f"redis+cluster://{server.at}")
        assert refused.value.code == "CLUSTER"
    finally:
        server.kill()


async def test_a_node_of_a_cluster_is_not_taken_for_a_server_by_itself(cluster: RedisCluster) -> None:
    shard = Shard(0, f"redis://{cluster.nodes[0].at}", partitions=Partitions())
    with pytest.raises(StoreRefused, match="cluster mode"):
        await shard.execute("PING")
    with pytest.raises(StoreRefused, match="cluster mode"):
        await asyncio.to_thread(shard.execute_sync, "PING")
    await shard.close()


async def test_nodes_of_two_clusters_in_one_address_are_refused(cluster: RedisCluster, tmp_path: Path) -> None:
    other = RedisCluster(tmp_path, 1)
    try:
        with pytest.raises(StoreRefused, match="different clusters"):
            await use(f"redis+cluster://{cluster.nodes[0].at},{other.nodes[0].at}")
    finally:
        other.close()


async def test_where_nobody_answers_it_is_told_after_a_moment(tmp_path: Path) -> None:
    server = Server(tmp_path, options={"cluster-enabled": "yes"})
    server.kill()
    with pytest.raises(StoreUnavailable, match=r"(?i)connect|refused"):
        await use(f"redis+cluster://{server.at}")


async def test_a_node_that_wants_another_login_is_named(tmp_path: Path) -> None:
    """No shard can be used then, those of the other nodes neither: their errors say whose fault it is."""
    made = RedisCluster(tmp_path, 2)
    try:
        odd = made.owner(key_slot("{layout}"))
        odd.ask("CONFIG", "SET", "requirepass", "sesame")
        store = Store([made.url], PATIENT)
        other = next(shard for shard in store.shards if made.owner(slot_in(shard.url) or 0) is not odd)
        for ask in (other.execute("PING"), asyncio.to_thread(other.execute_sync, "PING")):
            with pytest.raises(StoreRefused, match=rf"NOAUTH .*\(at {odd.at}\)"):
                await ask
        await store.close()
    finally:
        made.close()


@ipv6
async def test_slots_that_nobody_has_are_the_only_ones_that_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "HELD_WITHIN", 0.3)
    monkeypatch.setattr(threads, "HELD_WITHIN", 0.3)
    made = RedisCluster(tmp_path, 2, host="::1", options={"cluster-require-full-coverage": "no"})
    try:
        gone = slot_of(0, 2)
        for node in made.nodes:
            node.ask("CLUSTER", "DELSLOTS", gone)
        url = expanded([f"{made.url}?shards=2"])
        with_slot, without = Shard(1, url[1], PATIENT), Shard(0, url[0], PATIENT)
        assert await with_slot.execute("PING") == b"PONG"
        with pytest.raises(StoreRefused, match=f"no node of the cluster has the slot {gone}") as refused:
            await without.execute("PING")
        assert refused.value.code == "CLUSTERDOWN"
        with pytest.raises(StoreRefused, match="CLUSTERDOWN"):
            await asyncio.to_thread(without.execute_sync, "PING")
        made.nodes[0].ask("CLUSTER", "ADDSLOTS", gone)
        assert await without.execute("PING") == b"PONG"
        await with_slot.close()
        await without.close()
    finally:
        made.close()
