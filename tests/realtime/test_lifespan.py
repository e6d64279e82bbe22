"""The platform under servers that speak lifespan: its node starts, its clients are sent away, it leaves the cluster."""

import asyncio
from typing import Any

import pytest

from flotilla.realtime import lifespan as module
from flotilla.realtime.lifespan import lifespan, lifespan_around
from flotilla.realtime.node.node import current_node
from flotilla.realtime.server.lifespan import Lifespan, StartupFailed
from flotilla.realtime.server.signals import on_boot, on_drain
from tests.realtime.client.nodes import configured
from tests.realtime.client.peers import Peer
from tests.store.fixtures import redis_process, redis_url, shared_redis
from tests.store.redis_process import until

__all__ = ["configured", "redis_process", "redis_url", "shared_redis"]

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("configured")]


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """What is told of the process, and whether there is a node then. What watches a process does not run here."""
    told: list[tuple[str, bool]] = []

    async def booted(**_: Any) -> None:
        told.append(("boot", current_node() is not None))

    async def left(**_: Any) -> None:
        told.append(("drain", current_node() is not None))

    for signal, receiver in ((on_boot, booted), (on_drain, left)):
        monkeypatch.setattr(signal, "receivers", [])
        signal.connect(receiver, weak=False)
    return told


class OtherServer:
    """One that knows lifespan and no extension, as uvicorn."""

    def __init__(self, application: Any = lifespan, **scope: Any) -> None:
        self.said: list[str] = []
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}} | scope
        self.task = asyncio.ensure_future(application(scope, self._events.get, self._send))

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
    async def fails(**_: object) -> None:
        raise RuntimeError("no disk")

    monkeypatch.setattr(module, "get_node", fails)
    with pytest.raises(StartupFailed, match="no disk"):
        await Lifespan(lifespan).startup()
    server = OtherServer()
    await server.ask("lifespan.startup", "lifespan.startup.failed")
    await server.task


class Own:
    """The lifespan of a project's application: notes what it is told, and what of ours is there then."""

    def __init__(self, answer: str = "complete") -> None:
        self.told: list[tuple[str, bool]] = []
        self.state: Any = None
        self._answer = answer

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.state = scope.get("state")
        while self.told[-1:] != [("lifespan.shutdown", False)]:
            event = (await receive())["type"]
            self.told.append((event, current_node() is not None))
            await send({"type": f"{event}.{self._answer}", "message": "as it was asked to"})


async def test_the_lifespan_of_the_project_is_around_ours() -> None:
    """It has the server's state, too."""
    own, state = Own(), {"pool": 1}
    server = OtherServer(lifespan_around(own), state=state)
    await server.ask("lifespan.startup", "lifespan.startup.complete")
    assert current_node() is not None and own.state is state
    await server.ask("lifespan.shutdown", "lifespan.shutdown.complete")
    assert own.told == [("lifespan.startup", False), ("lifespan.shutdown", False)]
    await server.task


async def test_a_project_that_cannot_start_is_told_and_starts_nothing() -> None:
    server = OtherServer(lifespan_around(Own("failed")))
    await server.ask("lifespan.startup", "lifespan.startup.failed")
    assert current_node() is None
    await server.task


async def test_what_has_started_ends_when_the_node_cannot(
    monkeypatch: pytest.MonkeyPatch, told: list[tuple[str, bool]]
) -> None:
    async def fails(**_: object) -> None:
        raise RuntimeError("no disk")

    monkeypatch.setattr(module, "get_node", fails)
    own = Own()
    server = OtherServer(lifespan_around(own))
    await server.ask("lifespan.startup", "lifespan.startup.failed")
    assert [event for event, _ in own.told] == ["lifespan.startup", "lifespan.shutdown"]
    assert [what for what, _ in told] == ["boot", "drain"]
    await server.task


async def test_an_application_of_the_project_without_a_lifespan_is_no_failure() -> None:
    async def raises(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("Django can only handle ASGI/HTTP connections, not lifespan.")

    server = OtherServer(lifespan_around(raises))
    await server.ask("lifespan.startup", "lifespan.startup.complete")
    await server.ask("lifespan.shutdown", "lifespan.shutdown.complete")
    await server.task


async def test_the_process_is_set_up_and_released_under_any_server(told: list[tuple[str, bool]]) -> None:
    """Metrics, readiness and live figures follow the process: once each, before the node and before its clients go."""
    server = OtherServer()
    await server.ask("lifespan.startup", "lifespan.startup.complete")
    await server.ask("lifespan.shutdown", "lifespan.shutdown.complete")
    await server.task
    assert told == [("boot", False), ("drain", True)]


@pytest.mark.parametrize("given", [{"namespces": {}}, {"instances": "2"}, {"host": 5}, ["redis_url"]])
async def test_no_server_starts_with_a_faulty_configuration(settings: Any, given: Any) -> None:
    """It hears of it, whatever else cannot be read then."""
    settings.FLOTILLA = given
    server = OtherServer()
    await server.ask("lifespan.startup", "lifespan.startup.failed")
    await server.task
    assert current_node() is None
