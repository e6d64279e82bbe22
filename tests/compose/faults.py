"""A part of the stack is stopped, killed, paused or cut off: clients lose nothing, people are told, and it heals.

In each, twenty clients of the protocol and four of the SDKs are connected, and 20 publications a second are published.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from tests.cluster.support.processes import eventually
from tests.cluster.support.sdk import SdkClient
from tests.cluster.support.subscribers import Faults
from tests.compose.crowd import Crowd
from tests.compose.engine import docker
from tests.compose.stack import Stack, served_by

pytestmark = [pytest.mark.timeout(900)]

CHANNEL = "open:faults"
WITHOUT_TRAFFIC_WITHIN = 3.0  # seconds: what the balancer promises of a failed instance
Say = Callable[[str], None]


def stop(stack: Stack, service: str) -> None:
    stack.compose("stop", service)


def kill(stack: Stack, service: str) -> None:
    docker("kill", stack.container(service))


def pause(stack: Stack, service: str) -> None:
    docker("pause", stack.container(service))


def cut_off(stack: Stack, service: str) -> None:
    stack.disconnect(service)


@pytest_asyncio.fixture
async def crowd(stack: Stack, request: pytest.FixtureRequest) -> AsyncIterator[Crowd]:
    name = f"{request.node.name}-{time.monotonic_ns()}"
    async with Crowd(stack, name, rooms=2, members=20, per_second=20) as made:
        yield made


async def subscribe(clients: list[SdkClient], channel: str) -> None:
    for client in clients:
        await client.subscribe(channel)
        await client.seen.event("subscribed", channel)


@pytest.mark.parametrize("fault", [stop, kill, pause, cut_off])
async def test_a_backend_fails(
    stack: Stack, crowd: Crowd, clients: list[SdkClient], fault: Callable[[Stack, str], None], say: Say
) -> None:
    """Nobody misses anything, the balancer turns away from it at once, and the receiver is told."""
    channel = f"{CHANNEL}-{time.monotonic_ns()}"
    await subscribe(clients, channel)
    victim = clients[0].seen.instance
    began = time.monotonic()
    wall = time.time()
    await asyncio.to_thread(fault, stack, victim)
    if fault is not stop:  # which lasts until it has drained
        wall = time.time()
    turned = await eventually(lambda: not (seen := stack.balanced(victim)).up and seen, "it gets no clients", within=20)
    assert turned.since - wall < WITHOUT_TRAFFIC_WITHIN
    await crowd.all_here(within=40)
    for client in clients:
        await eventually(lambda: client.seen.instance != victim, "the SDK's client has moved", within=40)  # noqa: B023
    back = time.monotonic() - began
    await clients[0].publish(channel, "after")
    for client in clients:
        await client.seen.event("publication", channel, data="after")
    assert {served_by(stack.http) for _ in range(8)} == {"backend1", "backend2"} - {victim}
    await eventually(lambda: stack.missed(victim), "Prometheus sees it", within=30)
    labels = {"alertname": "readiness_down", "instance": f"{victim}:9400"}
    told = await eventually(lambda: stack.receiver.notified("firing", labels, began), "somebody is told", within=60)
    assert await crowd.faults() == Faults()
    away = max(crowd.absences(began), default=0.0)
    say(
        f"{fault.__name__} {victim}: no new clients after {max(0.0, turned.since - wall):.1f} s, everybody back after "
        f"{back:.1f} s (the longest away {away:.1f} s), told after {told - began:.0f} s, "
        f"{crowd.acknowledged.total()} publications, 0 lost"
    )


async def test_a_backend_crashes_and_is_started_again(stack: Stack, crowd: Crowd, say: Say) -> None:
    """By the restart policy alone."""
    victim = "backend2"
    began = time.monotonic()
    await asyncio.to_thread(stack.crash, victim)
    await eventually(lambda: not stack.balanced(victim).up, "the balancer has seen it", within=20)
    await eventually(lambda: stack.balanced(victim).up, "it is back", within=40)
    again = time.monotonic() - began
    await crowd.all_here()
    assert await crowd.faults() == Faults()
    say(f"crash of {victim}: started again and in use after {again:.1f} s, 0 lost")


def restart(stack: Stack, service: str) -> None:
    stack.compose("restart", service)


@pytest.mark.parametrize(("fault", "for_seconds"), [(restart, 0), (kill, 0), (pause, 6), (cut_off, 6)])
async def test_redis_fails(
    stack: Stack,
    crowd: Crowd,
    clients: list[SdkClient],
    fault: Callable[[Stack, str], None],
    for_seconds: int,
    say: Say,
) -> None:
    """What was acknowledged is there, connections stay, and nothing has to be restarted."""
    channel = f"{CHANNEL}-{time.monotonic_ns()}"
    await subscribe(clients, channel)
    connected = [client.seen.client for client in clients]
    acknowledged = crowd.acknowledged.total()
    await asyncio.to_thread(fault, stack, "redis")
    if for_seconds:
        await eventually(lambda: not any(stack.balanced(name).up for name in ("backend1", "backend2")), "not ready")
        await asyncio.sleep(for_seconds)  # how long the fault lasts
    began = time.monotonic()
    await asyncio.to_thread(stack.heal)
    healed = time.monotonic() - began
    await eventually(lambda: crowd.acknowledged.total() > acknowledged + 200, "publishing goes on", within=60)
    await clients[0].publish(channel, "after")
    for client in clients:
        await client.seen.event("publication", channel, data="after")
    assert [client.seen.client for client in clients] == connected, "a connection was lost"
    assert await crowd.faults() == Faults()
    assert crowd.unrecovered == 0
    say(
        f"{fault.__name__} redis: ready again {healed:.1f} s after its end, the latest publication was acknowledged "
        f"after {crowd.latest:.1f} s, connections stayed, 0 lost"
    )
