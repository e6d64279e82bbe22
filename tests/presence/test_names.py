"""Who may start under a name, on a real Redis."""

import asyncio
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from flotilla.presence import NameTaken
from flotilla.presence.leases import Leases, Renewal, Renewals, new_incarnation
from flotilla.presence.names import claim
from flotilla.presence.process_identity import has_ended, identity
from flotilla.store import Store
from tests.presence.cluster import PrivateRedis

pytestmark = pytest.mark.asyncio

TTL = 60.0
SHORT = 1.5  # seconds of a lease that is to run out
PATIENCE = 30.0
ABOUT = {"host": "elsewhere", "pid": 17, "draining": False}


@pytest.fixture
def leases(store: Store) -> Leases:
    return Leases(store, ttl=TTL, key_ttl=3600)


async def holder(leases: Leases, instance: str = "web", **about: Any) -> Renewals:
    """Another instance that has its lease."""
    renewals = Renewals(new_incarnation(instance))
    assert await leases.renew(renewals, ABOUT | about) is Renewal.MISSING
    return renewals


@contextmanager
def renewing(leases: Leases, renewals: Renewals, **about: Any) -> Iterator[None]:
    """It lives, for the time of a block."""

    async def renew() -> None:
        while True:
            await leases.renew(renewals, ABOUT | about)
            await asyncio.sleep(0.1)

    task = asyncio.ensure_future(renew())
    yield
    task.cancel()


async def take(leases: Leases, instance: str = "web", replaces: int | None = None) -> str:
    """Start under a name; gives the incarnation, which holds its lease then."""
    incarnation = new_incarnation(instance)
    async with asyncio.timeout(PATIENCE):
        await claim(leases, incarnation, instance, ABOUT, replaces)
    assert incarnation in await leases.living()
    return incarnation


async def test_a_name_that_nobody_has_is_taken(leases: Leases) -> None:
    """The first renewal finds its lease."""
    incarnation = await take(leases)
    assert await leases.renew(Renewals(incarnation), ABOUT) is Renewal.HELD


async def test_one_that_lives_keeps_its_name(leases: Leases) -> None:
    """Who is refused is told where it is, and has left no lease."""
    first = await holder(leases)
    with (
        renewing(leases, first),
        pytest.raises(NameTaken, match=r"web is running already: process 17 on host elsewhere"),
    ):
        await take(leases)
    assert await leases.known() == {first.incarnation}


@pytest.mark.parametrize("name", ["web-1", "web.1", "we", "web-"])
async def test_names_that_begin_alike_are_others(leases: Leases, name: str) -> None:
    first = await holder(leases)
    with renewing(leases, first):
        await take(leases, name)


async def test_of_two_that_start_at_once_one_gets_the_name(leases: Leases) -> None:
    names = [new_incarnation("web") for _ in range(20)]
    found = await asyncio.gather(*(leases.claim(name, "web", ABOUT) for name in names))
    assert sum(other is None for other in found) == 1
    assert len({other.incarnation for other in found if other is not None}) == 1


async def test_one_that_drains_has_successors(leases: Leases) -> None:
    first = await holder(leases, draining=True)
    second = await holder(leases, draining=True)
    third = await take(leases)
    assert {first.incarnation, second.incarnation, third} == set(await leases.living())


async def test_one_that_begins_to_drain_meanwhile_has_too(leases: Leases) -> None:
    first = await holder(leases)
    starting = asyncio.ensure_future(take(leases))
    await asyncio.sleep(0)
    await leases.renew(first, ABOUT | {"draining": True})
    await starting


async def test_the_one_that_is_to_be_replaced_is_let_be(leases: Leases) -> None:
    """It alone: a process of this host, by its id."""
    here = {"pid": 4711, "host": socket.gethostname()}
    first = await holder(leases, **here)
    with renewing(leases, first, **here):
        second = await take(leases, replaces=4711)
    assert {first.incarnation, second} == set(await leases.living())


async def test_another_host_s_process_of_that_id_is_another(leases: Leases) -> None:
    first = await holder(leases)
    with renewing(leases, first), pytest.raises(NameTaken):
        await take(leases, replaces=17)


async def test_one_whose_process_has_ended_is_followed_at_once(leases: Leases) -> None:
    """And its lease is ended, so that the reapers come."""
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    surroundings, _, began = identity().split("/")
    first = await holder(leases, process_identity=f"{surroundings}/{gone.pid}/{began}")
    second = await take(leases)
    assert (await leases.dead(second)) == (True, {first.incarnation: True})


async def test_a_lease_that_nobody_renews_is_waited_for(store: Store, leases: Leases) -> None:
    """For as long as it lasts."""
    first = await holder(Leases(store, ttl=SHORT, key_ttl=3600))
    second = await take(leases)
    assert first.incarnation not in await leases.living() and second in await leases.living()


async def test_while_redis_is_away_nobody_is_refused(
    server: PrivateRedis, leases: Leases, caplog: pytest.LogCaptureFixture
) -> None:
    server.kill()
    async with asyncio.timeout(PATIENCE):
        await claim(leases, new_incarnation("web"), "web", ABOUT)
    assert "whether another instance is called web is not known" in caplog.text


async def test_a_process_is_known_to_have_ended_only_where_that_is_certain() -> None:
    own = identity()
    surroundings, process, began = own.split("/")
    assert process == str(os.getpid())
    with subprocess.Popen(["true"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a zombie: nobody has waited for it
        assert has_ended(f"{surroundings}/{child.pid}/{began}")
        child.wait()
        assert has_ended(f"{surroundings}/{child.pid}/{began}")
    assert has_ended(f"{surroundings}/{process}/1"), "its id was given again"
    assert not has_ended(own)
    assert not has_ended(f"another container/{process}/1")
    for nonsense in ("", "a", "a/b", f"{surroundings}/x/1", f"{surroundings}//"):
        assert not has_ended(nonsense)
