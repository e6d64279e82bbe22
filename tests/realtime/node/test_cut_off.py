"""An instance that does not reach Redis keeps its clients, or sends them where others do."""

import asyncio
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from flotilla.realtime.node import cut_off
from flotilla.realtime.node.node import Node
from flotilla.realtime.protocol.codes import DisconnectCode
from tests.realtime.client.nodes import REALTIME
from tests.realtime.client.peers import Peer
from tests.store.redis_process import RedisProcess, until

pytestmark = pytest.mark.asyncio


@pytest.fixture
def redis_process(mortal_redis: RedisProcess) -> RedisProcess:
    """The node's Redis is this test's own."""
    return mortal_redis


@pytest.fixture
def after() -> float:
    return 1.5


@pytest.fixture
def configured(configured: Any, after: float) -> Any:
    """Leases are short, and so is the time without Redis."""
    short = {"lease_ttl": "1.5s", "lease_renew": "0.4s", "disconnect_without_redis_after": after}
    configured.REALTIME = REALTIME | short
    return configured


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cut_off, "LOOK_EVERY", 0.05)


@pytest.fixture
def silent(mortal_redis: RedisProcess) -> Iterator[RedisProcess]:
    """A Redis that goes on at the end."""
    yield mortal_redis
    assert mortal_redis._process is not None
    mortal_redis._process.send_signal(signal.SIGCONT)


async def test_clients_of_an_instance_without_redis_reconnect(
    node: Node, silent: RedisProcess, caplog: pytest.LogCaptureFixture
) -> None:
    peers = [Peer(node) for _ in range(3)]
    for peer in peers:
        await peer.connect()
    assert silent._process is not None
    silent._process.send_signal(signal.SIGSTOP)
    for peer in peers:
        assert (await peer.end())[0] == DisconnectCode.FORCE_RECONNECT
    silent._process.send_signal(signal.SIGCONT)
    await until(lambda: node.presence.silent_for < 1)
    assert sum("3 clients reconnect" in line for line in caplog.messages) == 1
    again = Peer(node)
    await again.connect()
    await asyncio.sleep(0)
    assert again.socket.closed is None


@pytest.mark.parametrize("after", [0.0])
async def test_without_the_setting_they_stay(node: Node, silent: RedisProcess) -> None:
    peer = Peer(node)
    await peer.connect()
    assert silent._process is not None
    silent._process.send_signal(signal.SIGSTOP)
    await until(lambda: node.presence.silent_for > 2)
    assert peer.socket.closed is None
