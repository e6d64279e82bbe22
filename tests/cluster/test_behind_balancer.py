"""Clients behind the shipped HAProxy, which the instances trust as the compose file has it: all of them are served,
though they come over connections of one address, and what a client says about itself counts for nothing.
"""

import asyncio
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.support.balancer import ADDRESS, Balancer
from tests.cluster.support.crowd import Crowd
from tests.cluster.support.harness import CONFIG, Cluster, running
from tests.cluster.support.processes import eventually
from tests.cluster.support.raw_client import RawClient

pytestmark = pytest.mark.asyncio

FEW = 20  # connections that may wait for a head, of one address
CLIENTS = 300
SOURCE = "127.0.0.5"  # where the clients come from: not where the balancer does


@contextmanager
def balanced(home: Path, **more: str) -> Iterator[tuple[Cluster, Balancer]]:
    """Two instances behind the balancer."""
    cluster = Cluster(home, CONFIG | {"connect_timeout": 30}, "flotilla", "flotilla", **more)
    with running(cluster):
        balancer = Balancer(home, [instance.port for instance in cluster.instances])
        try:
            balancer.start()
            yield cluster, balancer
        finally:
            balancer.stop()


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Balancer]]:
    home = tmp_path_factory.mktemp("behind")
    with balanced(
        home, RATE_LIMIT_TRUSTED_PROXIES=ADDRESS, HTTP_MAX_WAITING_PER_ADDRESS=str(FEW), DJANGO_TLS_PROXY="1"
    ) as found:
        yield found


class NoHead(asyncio.Protocol):
    """A connection that sends no request. `lost`: it was closed."""

    lost = False

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True


async def without_head(port: int, source: str, count: int) -> list[tuple[asyncio.Transport, NoHead]]:
    loop = asyncio.get_running_loop()
    return [await loop.create_connection(NoHead, "127.0.0.1", port, local_addr=(source, 0)) for _ in range(count)]


async def test_only_strangers_are_bounded_by_address(behind: tuple[Cluster, Balancer]) -> None:
    """Connections that send nothing: the oldest of a stranger's go; the balancer's own address may have any number."""
    port = behind[0][0].port
    strangers = await without_head(port, SOURCE, 2 * FEW)
    balancers = await without_head(port, ADDRESS, 2 * FEW)
    try:
        await eventually(lambda: [one.lost for _, one in strangers[:FEW]] == [True] * FEW, "the oldest are closed")
        lost = [one.lost for _, one in balancers]
        if not all(one.lost for _, one in strangers):  # else the time for a head is over for all of them
            assert not any(lost)
    finally:
        for transport, _ in (*strangers, *balancers):
            transport.abort()


async def test_all_clients_behind_it_are_served(behind: tuple[Cluster, Balancer]) -> None:
    """Many more than one address may have connections that have not sent a head."""
    crowd = Crowd(behind[1].port, CLIENTS, SOURCE, at_once=100)
    try:
        await crowd.come()
        assert crowd.connected == CLIENTS
    finally:
        crowd.leave()


async def test_a_client_cannot_say_who_it_is(behind: tuple[Cluster, Balancer]) -> None:
    """The address that counts is the one the balancer saw."""
    cluster, balancer = behind
    headers = {"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9", "X_Forwarded_For": "203.0.113.9"}
    async with RawClient(balancer.url, local_addr=(SOURCE, 0), additional_headers=headers) as client:
        await client.connect("bob")
        await client.send({"id": 99, "subscribe": 1})
        await client.closed()
    logs = "".join(instance.log.read_text() for instance in cluster.instances)
    assert SOURCE in logs
    assert "203.0.113.9" not in logs


async def test_a_root_path_of_a_client_moves_nothing(behind: tuple[Cluster, Balancer]) -> None:
    request = urllib.request.Request(f"{behind[1].http}/admin/login/", headers={"Daphne-Root-Path": "/moved"})
    with urllib.request.urlopen(request, timeout=20) as response:
        assert response.status == 200
        assert b"/moved" not in response.read()


async def test_a_long_head_that_an_instance_takes_passes(behind: tuple[Cluster, Balancer]) -> None:
    """A cookie of 20 KB: the bound is the same in both places."""
    async with RawClient(behind[1].url, additional_headers={"Cookie": f"big={'x' * 20_000}"}) as client:
        await client.connect("ann")
