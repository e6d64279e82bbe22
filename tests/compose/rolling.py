"""A rolling restart of both instances under load that nobody notices but for one reconnect."""

import asyncio
import time
from collections.abc import Callable

import pytest

from tests.cluster.support.processes import eventually
from tests.cluster.support.subscribers import Faults
from tests.compose.crowd import Crowd, rates
from tests.compose.stack import BACKENDS, Stack

pytestmark = [pytest.mark.timeout(900)]

MEMBERS = 1000
PER_SECOND = 200
BACK_WITHIN = 10.0  # seconds


async def test_both_instances_are_replaced_under_load(stack: Stack, say: Callable[[str], None]) -> None:
    """1,000 connections, 200 publications a second: none lost, none twice, and everybody is back at once."""
    name = f"rolling-{time.monotonic_ns()}"
    async with Crowd(stack, name, rooms=100, members=MEMBERS, per_second=PER_SECOND) as crowd:
        began = time.monotonic()
        for backend in BACKENDS:
            at = time.monotonic()
            await asyncio.to_thread(stack.compose, "up", "--detach", "--no-deps", "--wait", "--force-recreate", backend)
            replaced = time.monotonic() - at
            await eventually(lambda: stack.balanced(backend).up, "the new one gets clients", within=30)  # noqa: B023
            await crowd.all_here()
            say(f"{backend} was replaced and ready in {replaced:.1f} s; now {dict(crowd.instances())}")
            other = BACKENDS[1 - BACKENDS.index(backend)]
            mean, most = rates(crowd.admitted(other, at, time.monotonic()))
            say(f"  {other} let in {mean:.0f} a second, at most {most} in one second")
        ended = time.monotonic()
        faults = await crowd.faults()
        absences = sorted(crowd.absences(began))
    say(
        f"rolling restart: {crowd.acknowledged.total()} publications in {ended - began:.0f} s, {faults}, "
        f"{len(absences)} reconnects, away {absences[len(absences) // 2]:.2f} s (median), {absences[-1]:.2f} s (most), "
        f"the latest publication was acknowledged after {crowd.latest:.2f} s"
    )
    assert faults == Faults()
    assert crowd.unrecovered == 0
    assert absences[-1] < BACK_WITHIN
