"""A Redis that cannot do what the product asks is not ready, says so in one line of the log, and heals when it can."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from flotilla.monitoring import health
from flotilla.monitoring.probe import ShardProbe
from flotilla.ratelimit.service import reset_limits
from flotilla.store import Store, get_store
from flotilla.store.errors import StoreRefused, refused
from flotilla.store.fitness import require_fit
from flotilla.store.own_names import name_per_shard
from flotilla.store.shards import reset_store
from tests.store.places import STORES_OWN
from tests.store.redis_process import RedisProcess, until

pytestmark = pytest.mark.asyncio

AGAIN = ("--user", "flotilla", "on", ">s3cret", "+@all", "allkeys", "allchannels")
USER = ("ACL", "SETUSER", "flotilla")


@pytest.fixture
def redis_process(mortal_redis: RedisProcess) -> RedisProcess:
    """The instance's Redis is this test's own, with a user who may do everything."""
    mortal_redis.ask(*USER, "reset", "on", ">s3cret", "+@all", "allkeys", "allchannels")
    return mortal_redis


@pytest.fixture
def redis_url(redis_process: RedisProcess) -> str:
    return f"unix://flotilla:s3cret@{redis_process.socket}"


@pytest_asyncio.fixture
async def asked(configured: Any, redis_url: str) -> AsyncIterator[Any]:
    """Gives the outcome of a check of an instance on this Redis."""
    configured.RATE_LIMIT_REDIS_URL = redis_url
    reset_limits()
    health._running.clear()
    health._news._last.clear()

    async def outcome(name: str = "redis") -> dict[str, Any]:
        return await health._run(name, health.CHECKS[name])

    yield outcome
    await get_store().close()
    await health.get_limits().limiter.close()
    reset_limits()


@pytest.fixture(autouse=True)
def no_secrets(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing in the log has the password in it."""
    with caplog.at_level(logging.INFO):
        yield
    assert "s3cret" not in caplog.text


async def fails(asked: Any, code: str, name: str = "redis") -> bool:
    found = await asked(name)
    return not found["ok"] and found["problem"] == code


async def holds(asked: Any, name: str = "redis") -> bool:
    return bool((await asked(name))["ok"])


RIGHTS = {
    "INFO": (("-info",), ("+info",), "info"),
    "EVAL": (("-eval",), ("+eval",), "eval"),
    "EVALSHA": (("-evalsha",), ("+evalsha",), "evalsha"),
    "SCRIPT": (("-script",), ("+script",), "script"),
    "channels": (("resetchannels",), ("allchannels",), "channel"),
    "our channels": (("resetchannels", "&other*"), ("allchannels",), "channel"),
    "PUBLISH": (("-publish",), ("+publish",), "+publish"),
    "SUBSCRIBE": (("-subscribe",), ("+subscribe",), "subscribe"),
    "UNSUBSCRIBE": (("-unsubscribe",), ("+unsubscribe",), "unsubscribe"),
    "streams": (("-@stream",), ("+@stream",), "+xadd +xlen +xrange +xrevrange"),
    "a hash": (("-hincrby",), ("+hincrby",), "+hincrby"),
    "our keys": (("resetkeys", "~other:*"), ("allkeys",), "key"),
    "everything": (("-@all",), ("+@all",), ""),
}


@pytest.mark.parametrize("connected", [True, False], ids=["at work", "from the start"])
@pytest.mark.parametrize("right", RIGHTS)
async def test_a_right_that_is_missing_is_named_and_heals_when_it_is_given(
    right: str, connected: bool, asked: Any, redis_process: RedisProcess, caplog: pytest.LogCaptureFixture
) -> None:
    """To anybody by its code, in the log by its name and with the mend."""
    taken, given, named = RIGHTS[right]
    if connected:
        assert await holds(asked)
    redis_process.ask(*USER, *taken)
    await until(lambda: fails(asked, "NOPERM"))
    lines = [record.getMessage() for record in caplog.records if record.name == "flotilla.monitoring.health"]
    assert any(named in line and "docs/SECURITY.md" in line and "Redis 0: " in line for line in lines), lines
    assert len(lines) <= 2, "it is said once"
    redis_process.ask(*USER, *given)
    await until(lambda: holds(asked))


async def test_a_replica_is_not_ready_until_it_is_a_master(asked: Any, redis_process: RedisProcess) -> None:
    redis_process.ask("REPLICAOF", "127.0.0.1", "1")
    await until(lambda: fails(asked, "READONLY"))
    redis_process.ask("REPLICAOF", "NO", "ONE")
    await until(lambda: holds(asked))


async def test_a_master_without_the_replicas_it_wants_is_not_ready(asked: Any, redis_process: RedisProcess) -> None:
    redis_process.ask("CONFIG", "SET", "min-replicas-to-write", "1")
    await until(lambda: fails(asked, "NOREPLICAS"))
    redis_process.ask("CONFIG", "SET", "min-replicas-to-write", "0")
    await until(lambda: holds(asked))


async def test_a_redis_that_cannot_save_is_not_ready(asked: Any, redis_process: RedisProcess) -> None:
    """It takes no writes until a snapshot succeeds."""
    redis_process.ask("CONFIG", "SET", "save", "3600 1")
    in_the_way = redis_process.folder / "dump.rdb"
    in_the_way.mkdir()
    redis_process.ask("BGSAVE")
    await until(lambda: redis_process.ask("INFO", "persistence")["rdb_last_bgsave_status"] == "err")
    await until(lambda: fails(asked, "MISCONF"))
    in_the_way.rmdir()
    redis_process.ask("BGSAVE")
    await until(lambda: holds(asked))


async def test_a_full_redis_is_not_ready(asked: Any, redis_process: RedisProcess) -> None:
    """Nobody new can be entered; the limits go on."""
    redis_process.ask("CONFIG", "SET", "maxmemory", "1")
    await until(lambda: fails(asked, "OOM"))
    assert await holds(asked, "limits")
    redis_process.ask("CONFIG", "SET", "maxmemory", "0")
    await until(lambda: holds(asked))


async def test_a_redis_cluster_behind_the_address_of_a_redis_is_refused_by_name(
    asked: Any, redis_process: RedisProcess, caplog: pytest.LogCaptureFixture
) -> None:
    """Even one of a single node that has all slots, where some scripts would work."""
    redis_process.kill()
    redis_process.start("--cluster-enabled", "yes", *AGAIN)
    await until(lambda: fails(asked, "CLUSTER"))
    assert "the address of a Redis Cluster is redis+cluster://" in caplog.text
    redis_process.kill()
    (redis_process.folder / "nodes.conf").unlink()
    redis_process.start(*AGAIN)
    await until(lambda: holds(asked))


async def test_a_database_that_is_not_there_is_named(
    configured: Any, redis_process: RedisProcess, caplog: pytest.LogCaptureFixture
) -> None:
    configured.REDIS_URLS = [f"unix://{redis_process.socket}?db=99"]
    reset_store()
    health._running.clear()
    found = await health._run("redis", health.CHECKS["redis"])
    assert not found["ok"]
    assert "give another number" in caplog.text
    await get_store().close()


async def test_a_wrong_password_is_named_and_not_told(
    configured: Any, redis_process: RedisProcess, caplog: pytest.LogCaptureFixture
) -> None:
    configured.REDIS_URLS = [f"unix://flotilla:another-s3cret@{redis_process.socket}"]
    reset_store()
    found = await health._run("redis", health.CHECKS["redis"])
    assert found["problem"] == "WRONGPASS"
    assert "password is wrong" in caplog.text
    await get_store().close()


async def test_the_redis_of_the_limits_counts_by_what_it_refuses_and_not_while_it_is_away(
    asked: Any, redis_process: RedisProcess
) -> None:
    """What happens while it is away is each policy's to say; what it refuses stays so until somebody mends it."""
    assert await holds(asked, "limits")
    for right in ("-set", "-zincrby", "-evalsha"):
        redis_process.ask(*USER, right)
        assert await fails(asked, "NOPERM", "limits")
        redis_process.ask(*USER, "+@all")
        await until(lambda: holds(asked, "limits"))
    redis_process.ask(*USER, "resetkeys", "~flotilla:*")
    await until(lambda: fails(asked, "NOPERM", "limits"))
    assert await holds(asked)
    redis_process.kill()
    await until(lambda: holds(asked, "limits"))


async def test_every_redis_is_tried(configured: Any, redis_url: str, second_redis: RedisProcess) -> None:
    configured.REDIS_URLS = [redis_url, second_redis.url]
    reset_store()
    assert (await health._run("redis", health.CHECKS["redis"]))["ok"]
    second_redis.ask("ACL", "SETUSER", "default", "-xadd")
    found = await health._run("redis", health.CHECKS["redis"])
    assert found["problem"] == "NOPERM"
    await get_store().close()


@pytest.fixture
def second_redis() -> Iterator[RedisProcess]:
    process = RedisProcess()
    yield process
    process.close()


async def test_trying_leaves_nothing_that_stays(store: Store, redis_process: RedisProcess) -> None:
    """And the real partitions are as they were."""
    probe = _probe(store)
    await probe.run()
    before = {key: redis_process.ask("HGETALL", key) for key in redis_process.ask("KEYS", "flotilla:partition:*")}
    await probe.run()
    after = {key: redis_process.ask("HGETALL", key) for key in redis_process.ask("KEYS", "flotilla:partition:*")}
    assert before == after
    rest = [key for key in redis_process.ask("KEYS", "*") if not key.startswith(STORES_OWN)]
    assert rest
    assert all(0 < redis_process.ask("PTTL", key) <= 11_000 for key in rest)  # 10 s, and one for the next renewal
    assert redis_process.ask("PUBSUB", "CHANNELS") == []


async def test_processes_do_not_get_into_each_other_s_way(redis_url: str) -> None:
    """Two of one name, as while one takes the other's place."""
    stores = [Store([redis_url]) for _ in range(2)]
    probes = [_probe(store) for store in stores]
    for _ in range(20):
        await asyncio.gather(*(probe.run() for probe in probes))
    for store in stores:
        await store.close()


async def test_a_redis_that_is_too_old_is_refused_by_name() -> None:
    require_fit(b"redis_version:6.2.0\r\nredis_mode:standalone\r\n")
    require_fit(b"redis_version:255.255.255\r\n")
    require_fit(b"# Server\r\n")
    with pytest.raises(StoreRefused, match=r"6\.0\.16"):
        require_fit(b"redis_version:6.0.16\r\n")


@pytest.mark.parametrize(
    "text",
    [
        "ERR The user executing the script can't run this command or subcommand script: 1a, on @user_script:1.",
        "ERR Error running script (call to f_1a): @user_script:1: @user_script: 1: -NOPERM The user executing the "
        "script can't access at least one of the keys mentioned in the command arguments",
        "ERR ACL failure in script: User flotilla has no permissions to run the 'del' command script: 1a",
        "NOPERM this user has no permissions to run the 'info' command",
    ],
)
async def test_a_right_that_is_missing_in_a_script_has_its_code(text: str) -> None:
    assert refused(text).code == "NOPERM"


def _probe(store: Store) -> ShardProbe:
    """Of the first Redis, under a name of its own."""
    return ShardProbe(store.first, name_per_shard(store, f"health\0{secrets.token_hex(8)}-")[0], of_leases=True)
