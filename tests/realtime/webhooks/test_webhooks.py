"""Real clients of real nodes, and the service that is told of them."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from flotilla.realtime.access.tokens import make_connection_token
from flotilla.realtime.conf import get_config
from flotilla.realtime.node.node import Node
from flotilla.store import get_store
from flotilla.store.shards import reset_store
from tests.realtime.client.nodes import ALLOWED, REALTIME
from tests.realtime.client.peers import Peer
from tests.realtime.webhooks.receiver import SECRET, Service
from tests.store.redis_process import RedisProcess, until

pytestmark = pytest.mark.asyncio

NAMESPACES: dict[str, Any] = REALTIME["namespaces"]  # type: ignore[assignment]


@pytest_asyncio.fixture
async def told(configured: Any, service: Service) -> AsyncIterator[Node]:
    """A node with a webhook for everything, and one for a namespace."""
    webhook = {"url": service.url, "secret": ["new" * 11, SECRET], "allow_private": True}
    tabs = {**ALLOWED, "presence": True, "join_leave": "user", "force_push_join_leave": True}
    configured.REALTIME = REALTIME | {
        "namespaces": NAMESPACES | {"tabs": tabs},
        "webhooks": {"all": webhook, "wish": webhook | {"events": ["occupied"], "namespaces": ["wish"]}},
    }
    get_config.reset()
    reset_store()
    made = Node(get_config(), get_store(), "unit-0")
    await made.start()
    await until(lambda: all(made.checks().values()))
    yield made
    await made.close()


async def test_a_visit_is_told_from_its_beginning_to_its_end(told: Node, service: Service) -> None:
    peer = Peer(told)
    await peer.connect()
    await peer.subscribe("plain:a")
    await peer.subscribe("people:a")
    await peer.ask(unsubscribe={"channel": "plain:a"})
    peer.client.closed(1006)
    whole = ["occupied", "subscribed", "unsubscribed", "vacated"]
    for channel in ("people:a", "plain:a"):  # without presence, too
        await until(lambda channel=channel: service.types(channel=channel) == whole)
    await until(lambda: service.types(client=peer.client.id).count("disconnected") == 1)
    (end,) = [one for one in service.distinct() if one["type"] == "disconnected"]
    assert end["user"] == "" and end["instance"] == "unit-0" and end["code"]
    assert not service.forged


async def test_an_endpoint_gets_what_it_asked_for(told: Node, service: Service, redis_process: RedisProcess) -> None:
    peer = Peer(told)
    await peer.connect()
    await peer.subscribe("plain:a")
    await peer.subscribe("wish:a")
    await until(lambda: service.types(channel="wish:a").count("occupied") == 2)
    await until(lambda: "subscribed" in service.types(channel="plain:a"))
    assert service.types(channel="plain:a").count("occupied") == 1


async def test_presence_that_is_off_stays_closed_to_clients(told: Node) -> None:
    peer = Peer(told)
    await peer.connect()
    await peer.subscribe("plain:a")
    assert (await peer.ask(presence={"channel": "plain:a"}))["error"]["code"] == 108


async def test_nothing_runs_without_a_webhook(node: Node, redis_process: RedisProcess) -> None:
    assert node.webhooks.deliveries == []
    assert node.webhooks.outbox("c:plain:a", "plain:a") is None
    assert not node.webhooks.watches("plain:a")
    assert node.webhooks.cause(3000, "x") == b""
    peer = Peer(node)
    await peer.connect()
    await peer.subscribe("plain:a")
    assert not [key for key in redis_process.ask("KEYS", "*") if b"webhook" in key or b":pe-" in key]


async def test_pages_of_one_visitor_are_told_each_and_those_of_a_user_once(told: Node) -> None:
    """`join_leave: "user"`, as clients see it."""
    watcher = Peer(told)
    await watcher.connect()
    await watcher.subscribe("tabs:a")
    visitors = [Peer(told), Peer(told)]
    for peer in visitors:
        await peer.connect()
        await peer.subscribe("tabs:a")
    await until(lambda: len(watcher.pushes("join", "tabs:a")) == 3)
    users = [Peer(told) for _ in range(3)]
    for peer in users:
        await peer.connect(token=make_connection_token("7"))
        await peer.subscribe("tabs:a")
    await users[0].ask(unsubscribe={"channel": "tabs:a"})
    users[1].client.disconnect(3000)
    await visitors[0].ask(unsubscribe={"channel": "tabs:a"})
    await until(lambda: len(watcher.pushes("leave", "tabs:a")) == 1)
    joins = [one["info"]["client"] for one in watcher.pushes("join", "tabs:a")]
    assert joins == [peer.client.id for peer in (watcher, *visitors, users[0])]
    await users[2].ask(unsubscribe={"channel": "tabs:a"})
    await until(lambda: len(watcher.pushes("leave", "tabs:a")) == 2)
    assert watcher.pushes("leave", "tabs:a")[-1]["info"]["client"] == users[2].client.id
