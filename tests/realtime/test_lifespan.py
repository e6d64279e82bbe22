"""The platform under servers that speak lifespan: its node starts, its clients are sent away, it leaves the cluster."""

import asyncio
from typing import Any

import pytest

from flotilla.realtime import lifespan as module
from flotilla.realtime.lifespan import lifespan
from flotilla.realtime.node.node import current_node
from flotilla.realtime.server.lifespan import Lifespan, StartupFailed
from tests.realtime.client.nodes import configured
from tests.realtime.client.peers import Peer
from tests.store.fixtures import redis_process, redis_url, shared_redis
from tests.store.redis_process import until

__all__ = ["configured", "redis_process", "redis_url", "shared_redis"]

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("configured")]


class OtherServer:
    """One that knows lifespan and no extension, as uvicorn."""

    def __init__(self, **scope: Any) -> None:
        self.said: list[str] = []
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}} | scope
        self.task = asyncio.ensure_future(lifespan(scope, self._events.get, self._send))

    async def _send(self, message: dict[str, Any]) -> None:
        self.said.append(message["type"])

    async def ask(self, event: str, answer: str) -> None:
        self._events.put_nowait({"type": event})
        await until(lambda: answer in self.said)


@pytest.mark.parametrize("scope", [{}, {"extensions": None}, {"extensions": {}}])
async def test_the_node_starts_and_ends_with_the_server(scope: dict[str, Any]) -> None:
    server = OtherServer(**scope)
    await asyncio.sleep(0.01)
    assert current_node() is None
    await server.ask("lifespan.startup", "lifespan.startup.complete")
    node = current_node()
    assert node is not None
    peer = Peer(node)
    await server.ask("lifespan.shutdown", "lifespan.shutdown.complete")
    assert await peer.end() == (3001, "shutdown")
    assert current_node() is None
    await server.task


async def test_our_server_has_clients_sent_away_before_the_end() -> None:
    server = Lifespan(lifespan)
    await server.startup()
    node, clients = current_node(), server.clients
    assert node is not None and clients is not None
    assert not clients.ready()  # it has joined no cluster yet
    await until(lambda: clients.ready() == node.presence.incarnation)
    peer = Peer(node)
    await server.send_away(5.0)
    assert await peer.end() == (3001, "shutdown")
    assert current_node() is None and not clients.ready()
    await server.shutdown(1.0)


async def test_at_its_end_our_server_is_not_held_up_by_a_drain_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the deadline of the drain has passed the process ends, whoever is still connected."""
    server = Lifespan(lifespan)
    await server.startup()
    node = current_node()
    assert node is not None
    peer = Peer(node)
    await server.shutdown(1.0)
    assert current_node() is node and not peer.socket.closed
    await node.close()


async def test_a_node_that_cannot_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails() -> None:
        raise RuntimeError("no disk")

    monkeypatch.setattr(module, "get_node", fails)
    with pytest.raises(StartupFailed, match="no disk"):
        await Lifespan(lifespan).startup()
    server = OtherServer()
    await server.ask("lifespan.startup", "lifespan.startup.failed")
    await server.task
