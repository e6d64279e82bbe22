"""Blocks over real instances: final for the official clients, by address behind a proxy, through a death of Redis."""

import asyncio
import contextlib
from pathlib import Path

import pytest
import websockets

from tests.cluster.support import sdk
from tests.cluster.support.harness import CONFIG, Cluster, Instance, manage, running
from tests.cluster.support.processes import eventually
from tests.cluster.support.raw_client import RawClient, token

pytestmark = pytest.mark.asyncio

TRUSTING = {"RATE_LIMIT_TRUSTED_PROXIES": "127.0.0.1"}


async def block(cluster: Cluster, *words: str) -> str:
    """From a shell, for ten minutes."""
    return await asyncio.to_thread(manage, cluster.env, "block", *words, "--seconds", "600")


async def is_refused(url: str, user: str, forwarded: str = "192.0.2.1") -> bool:
    """Whether a client is told that it is blocked."""
    async with RawClient(url, additional_headers={"X-Forwarded-For": forwarded}) as client:
        with contextlib.suppress(websockets.ConnectionClosed):  # by its address it is refused before it says anything
            await client.send(client.command("connect", token=token(user)))
        await client.wait(lambda _: True, "an answer")
        if "connect" in client.received[0]:
            return False
        code, reason = await client.closed()
        return code == 3507 and reason.startswith("blocked until")


async def test_blocked_people_stay_away(tmp_path: Path, make_client: sdk.MakeClient) -> None:
    """Who is connected by an official client is ended and does not come back; nobody else is disturbed."""
    with running(Cluster(tmp_path, CONFIG, "flotilla", "flotilla", **TRUSTING)) as cluster:
        ann, bob = (make_client(instance.url, lambda _, user=user: token(user)) for instance, user in _seats(cluster))
        for client in (ann, bob):
            await client.connect()
            await client.seen.event("connected")
        assert "blocked, 1 connections ended; 2 of 2 instances answered" in await block(cluster, "--user", "id:ann")
        ended = await ann.seen.event("disconnected")
        assert ended["code"] == 3507
        assert ended["reason"].startswith("blocked until")
        assert await is_refused(cluster[1].url, "ann")
        await block(cluster, "--address", "203.0.113.7")
        for instance in cluster.instances:
            assert await is_refused(instance.url, "eve", "203.0.113.7")
            assert await is_refused(instance.url, "eve", "1.1.1.1, 203.0.113.7")
            assert not await is_refused(instance.url, "eve", "203.0.113.7, 1.1.1.1")
        assert len(ann.seen.named("connected")) == 1
        assert not bob.seen.named("disconnected")
        await asyncio.to_thread(manage, cluster.env, "unblock", "--user", "id:ann")
        assert not await is_refused(cluster[1].url, "ann")


def _seats(cluster: Cluster) -> list[tuple[Instance, str]]:
    return [(cluster[0], "ann"), (cluster[1], "bob")]


async def test_a_block_outlives_redis(tmp_path: Path) -> None:
    """While it is away the instance knows; when it is back, empty, it is told, and so is one that starts then."""
    with running(Cluster(tmp_path, CONFIG, "flotilla", "flotilla", **TRUSTING)) as cluster:
        cluster[1].stop()
        await block(cluster, "--user", "id:ann")
        cluster.redis.kill()
        assert await is_refused(cluster[0].url, "ann")
        cluster.redis.restore(None)
        await eventually(cluster[0].ready, "the instance is well again")
        await eventually(lambda: "1 are put back" in cluster[0].log.read_text(), "the block is back in Redis")
        cluster[1].start()
        assert await is_refused(cluster[1].url, "ann")
        assert not await is_refused(cluster[1].url, "bob")
