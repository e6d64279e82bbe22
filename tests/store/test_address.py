"""Addresses against real servers: TLS with an authority and client certificates, users, sentinels, IPv6."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from channels.layers import BaseChannelLayer

from flotilla.ratelimit.policies import read_policies
from flotilla.ratelimit.service import Limits
from flotilla.ratelimit.subjects import Subject
from flotilla.realtime.engine.layer import ChannelLayer
from flotilla.store import Script, Shard, StoreRefused, StoreUnavailable
from flotilla.store.partitions import Partitions
from flotilla.store.urls import check_url, layer_host
from tests.store.redis_fleet import Certificates, Fleet, Server, has_ipv6
from tests.store.redis_process import until

PATIENT = 15.0  # seconds a call may take on a busy machine
PASSWORD = "p/w%3A"  # as it stands in a configuration
ENCODED = "p%2Fw%253A"
LARGE = bytes(range(256)) * 1000  # several records of TLS
TWICE = Script("tests.twice", "return tonumber(ARGV[1]) * 2")

ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module", params=["127.0.0.1", pytest.param("::1", marks=ipv6)])
def tls_redis(
    request: pytest.FixtureRequest, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A Redis with TLS, that knows its clients by certificate and the user `ann` by password."""
    lines = [f"user ann on >{PASSWORD} ~* &* +@all"]
    folder = tmp_path_factory.mktemp("redis")
    server = Server(folder, request.param, lines=lines, tls=certificates, user="ann", password=PASSWORD)
    yield server
    server.kill()


@pytest.fixture(scope="module", params=["127.0.0.1", pytest.param("::1", marks=ipv6)])
def tls_fleet(
    request: pytest.FixtureRequest, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    """A master and sentinels with TLS and a password each."""
    folder = tmp_path_factory.mktemp("fleet")
    fleet = Fleet(
        folder,
        host=request.param,
        tls=certificates,
        password="word",
        sentinel_password="other",
        replicas=1,
        sentinels=2,
    )
    yield fleet
    fleet.close()


@pytest_asyncio.fixture(autouse=True)
async def closed() -> AsyncIterator[None]:
    """What a test has closed is closed before its loop ends: TLS says goodbye first."""
    before = len(psutil.Process().net_connections("tcp"))
    yield
    await until(lambda: len(psutil.Process().net_connections("tcp")) <= before)


async def links(url: str) -> None:
    shard = Shard(0, url, PATIENT, Partitions())
    try:
        assert await shard.run(TWICE, [], [21]) == 42
        assert await shard.execute("ECHO", LARGE) == LARGE
    finally:
        await shard.close()


async def threads(url: str) -> None:
    shard = Shard(0, url, PATIENT, Partitions())
    try:
        assert await asyncio.to_thread(shard.run_sync, TWICE, [], [21]) == 42
    finally:
        await shard.close()


async def layer(url: str) -> None:
    made: BaseChannelLayer = ChannelLayer(hosts=[layer_host(url)])
    try:
        mailbox = await made.new_channel()
        await made.group_add("people", mailbox)
        await made.group_send("people", {"type": "word"})
        assert await asyncio.wait_for(made.receive(mailbox), 5) == {"type": "word"}
    finally:
        await made.flush()


CLIENTS = [links, threads, layer]
Client = Callable[[str], Awaitable[None]]


@pytest.mark.asyncio
@pytest.mark.parametrize("client", CLIENTS)
async def test_tls_with_an_authority_and_a_client_certificate(
    client: Client, tls_redis: Server, certificates: Certificates
) -> None:
    await client(f"rediss://ann:{ENCODED}@{tls_redis.at}/0?{certificates.query}")


@pytest.mark.asyncio
@pytest.mark.parametrize("client", CLIENTS)
async def test_sentinels_and_master_with_tls_and_a_password_each(client: Client, tls_fleet: Fleet) -> None:
    assert check_url(tls_fleet.url) is None
    await client(tls_fleet.url)


@pytest.mark.asyncio
@ipv6
@pytest.mark.parametrize("client", CLIENTS)
async def test_ipv6_without_tls(client: Client, tmp_path: Path) -> None:
    server = Server(tmp_path, "::1")
    try:
        await client(f"redis://{server.at}")
    finally:
        server.kill()


@pytest.mark.asyncio
async def test_the_limiter_s_own_redis_is_reached_the_same_way(tls_fleet: Fleet, settings: object) -> None:
    settings.RATE_LIMIT_REDIS_URL = tls_fleet.url  # type: ignore[attr-defined]
    policies, problems = read_policies({"few": {"guards": "ws.publish", "key": "user", "rate": "2/h"}}, None)
    assert not problems
    limits = Limits(policies)
    tls_fleet.master().ask("FLUSHALL")

    async def counted() -> bool:
        await limits.ask(limits.policies, Subject(user="ann"))
        return bool(tls_fleet.master().ask("KEYS", "*"))

    try:
        await until(counted, 30, "a limit that counts on this Redis")
    finally:
        limits.background.stop()
        await limits.limiter.close()


@pytest.mark.asyncio
async def test_an_unknown_authority_is_refused_unless_nobody_is_to_be_verified(
    tls_redis: Server, certificates: Certificates
) -> None:
    cert, key = certificates.client
    own = f"rediss://ann:{ENCODED}@{tls_redis.at}/0?cert={cert}&key={key}"
    with pytest.raises(StoreUnavailable, match=r"(?i)certificate"):
        await links(own)
    with pytest.raises(StoreUnavailable, match=r"(?i)certificate"):
        await threads(own)
    await links(f"{own}&verify=0")


@pytest.mark.asyncio
async def test_the_name_in_the_certificate_is_compared_unless_it_must_not_be(
    certificates: Certificates, tmp_path: Path
) -> None:
    cert, key = certificates.signed("stranger", "DNS:elsewhere.example")
    options = {"tls-cert-file": str(cert), "tls-key-file": str(key)}
    server = Server(tmp_path, options=options, tls=certificates, check_hostname=False)
    url = f"rediss://{server.at}/0?{certificates.query}"
    try:
        with pytest.raises(StoreUnavailable, match=r"(?i)certificate"):
            await links(url)
        await links(f"{url}&check_hostname=0")
    finally:
        server.kill()


@pytest.mark.asyncio
@pytest.mark.parametrize("client", [links, threads])
async def test_a_wrong_password_is_told_without_it(
    client: Client, tls_redis: Server, certificates: Certificates
) -> None:
    with pytest.raises(StoreUnavailable) as refused:
        await client(f"rediss://ann:s3cret-word@{tls_redis.at}/0?{certificates.query}")
    assert "s3cret" not in str(refused.value)
    assert isinstance(refused.value, StoreRefused) or "WRONGPASS" in str(refused.value)


@pytest.mark.asyncio
@pytest.mark.parametrize("client", [links, threads])
async def test_a_sentinel_that_refuses_is_told_without_its_password(client: Client, tls_fleet: Fleet) -> None:
    with pytest.raises(StoreUnavailable, match="no sentinel says where the master is") as refused:
        await client(tls_fleet.url.replace("sentinel_password=other", "sentinel_password=s3cret-word"))
    assert "s3cret" not in str(refused.value)
