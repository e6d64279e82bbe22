"""Instances in the admin: what each says of itself, and the command that makes one of them end."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from flotilla.realtime.node.node import Node
from tests.realtime.admin.staff import logged, people, staff
from tests.store.redis_process import until

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]


@pytest_asyncio.fixture
async def terminated() -> AsyncIterator[asyncio.Event]:
    """Set when this process is told to end."""
    told, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, told.set)
    yield told
    loop.remove_signal_handler(signal.SIGTERM)


async def test_what_a_row_says(node: Node, other: Node) -> None:
    """Of the last renewal, and the time that is left of the lease."""
    await people(node, "1", "1", "2")
    await node.presence._renewal.renew()
    page = await (await staff("instance", "view_instance")).get()
    one, two = page.context["page"].rows
    assert [row["name"] for row in (one, two)] == ["unit-0", "unit-1"]
    assert (one["num_clients"], one["num_users"], one["num_channels"], one["num_subs"]) == (3, 2, 1, 3)
    assert (one["pid"], one["version"], one["draining"]) == (os.getpid(), node.version, False)
    assert 0 < one["left"] <= 6
    assert b"serving" in page.content


async def test_one_instance_is_told_to_end(node: Node, other: Node, terminated: asyncio.Event) -> None:
    """As by SIGTERM, after its answer; the others go on, and one that is at it, or gone, is not hit."""
    boss = await staff("instance", "control_instance")
    other.leaving = True
    wanted = [other.presence.incarnation, "unit-9.000000000000"]
    assert b"Draining begins at 0 of 2 instances." in (await boss.post(action="drain", selected=wanted)).content
    assert not terminated.is_set()
    page = await boss.post(action="drain", selected=node.presence.incarnation)
    assert b"Draining begins at 1 of 1 instance." in page.content
    await until(terminated.is_set)
    assert await logged() == [("drained unit-0 (0 connections)",) * 2]
