"""Handshakes without a `connect` do not keep others out: not those of other addresses, and not those of their own.

Few places and many that say nothing: with one turn after the other, everybody else would come in after all of them.
"""

from collections.abc import Iterator

import pytest

from tests.cluster.support.harness import CONFIG, Cluster, running
from tests.cluster.support.raw_client import RawClient
from tests.cluster.support.silent_clients import silent_clients

pytestmark = pytest.mark.asyncio

PLACES = 4
MANY = 120


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An instance with few places."""
    config = CONFIG | {"max_connecting": PLACES, "connect_timeout": 60}
    with running(Cluster(tmp_path_factory.mktemp("narrow"), config, "flotilla")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The same behind a trusted proxy at 127.0.0.3."""
    config = CONFIG | {"max_connecting": PLACES, "connect_timeout": 60}
    home = tmp_path_factory.mktemp("proxied")
    with running(Cluster(home, config, "flotilla", RATE_LIMIT_TRUSTED_PROXIES="127.0.0.3")) as cluster:
        yield cluster


@pytest.mark.parametrize("source", ["127.0.0.2", "127.0.0.1"])
async def test_silent_handshakes_keep_nobody_out(narrow: Cluster, source: str) -> None:
    """Neither a client of another address nor one of their own waits until they have all been let in."""
    from_source = RawClient(narrow[0].url, local_addr=(source, 0))
    async with silent_clients(narrow[0].port, MANY) as crowd, from_source as client:
        await client.connect("ann")
        assert crowd.opened < MANY


@pytest.mark.parametrize(
    ("attacker", "honest"),
    [
        ("192.0.2.1", "192.0.2.2"),
        ("192.0.2.1, 192.0.2.2", "192.0.2.3"),  # what a client writes itself counts for nothing
        ("2001:db8:1:1::1", "2001:db8:1:2::1"),
        ("2001:db8:1::1", "2001:db9::1"),
    ],
)
async def test_behind_a_trusted_proxy_each_forwarded_address_counts(
    proxied: Cluster, attacker: str, honest: str
) -> None:
    async with silent_clients(proxied[0].port, MANY, "127.0.0.3", [f"X-Forwarded-For: {attacker}"]) as crowd:
        headers = {"X-Forwarded-For": honest}
        async with RawClient(proxied[0].url, local_addr=("127.0.0.3", 0), additional_headers=headers) as client:
            await client.connect("ann")
            assert crowd.opened < MANY // 4


async def test_who_says_nothing_may_still_connect_after_others_took_its_place(narrow: Cluster) -> None:
    """It was not ended, and its connect is answered in its turn."""
    async with RawClient(narrow[0].url) as late, silent_clients(narrow[0].port, MANY):
        async with RawClient(narrow[0].url) as client:
            await client.connect("ann")
        await late.connect("bob")


async def test_who_goes_while_it_waits_makes_room(narrow: Cluster) -> None:
    """A storm of handshakes that are gone again leaves nobody behind that must be let in first."""
    async with silent_clients(narrow[0].port, MANY):
        pass
    async with RawClient(narrow[0].url) as client:
        await client.connect("ann")
