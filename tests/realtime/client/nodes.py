"""Settings for a private Redis, and nodes of this process on it: fixtures that conftests import."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from flotilla.realtime.conf import get_config
from flotilla.realtime.node.node import Node
from flotilla.store import get_store
from flotilla.store.shards import reset_store
from tests.store.redis_process import until

ALLOWED = {
    f"allow_{what}_for_{whom}": True
    for what in ("subscribe", "publish", "presence", "history")
    for whom in ("client", "anonymous")
}
HISTORY = {"history_size": 10, "history_ttl": "60s"}
REALTIME = {
    "anonymous": True,
    "recheck_interval": 0,
    "recovery_max_publications": 5,
    "recovery_max_bytes": 100_000,
    "max_channels": 5,
    "max_queued_commands": 20,
    "without_namespace": {},
    "namespaces": {
        "open": {**ALLOWED, **HISTORY, "force_recovery": True, "presence": True},
        "plain": dict(ALLOWED),
        "wish": {**ALLOWED, **HISTORY},
        "people": {**ALLOWED, "presence": True, "join_leave": True, "force_push_join_leave": True},
        "closed": {},
    },
}


@pytest.fixture
def configured(settings: Any, redis_url: str) -> Any:
    """Settings for this Redis."""
    settings.REDIS_URLS = [redis_url]
    settings.REALTIME = REALTIME
    settings.REALTIME_CONFIG = None
    settings.REALTIME_TOKEN_SECRET = "s" * 40
    settings.REALTIME_API_KEYS = ("k" * 32, "l" * 32)
    get_config.reset()
    reset_store()
    yield settings
    get_config.reset()
    reset_store()


@pytest_asyncio.fixture
async def node(configured: Any) -> AsyncIterator[Node]:
    """A started node."""
    made = Node(get_config(), get_store(), "unit-0")
    await made.start()
    yield made
    await made.close()


@pytest_asyncio.fixture
async def other(node: Node) -> AsyncIterator[Node]:
    """A second instance, in this process; both are in the cluster."""
    made = Node(get_config(), get_store(), "unit-1")
    await made.start()
    await until(lambda: all(one.heartbeat.alive and one.presence.alive for one in (node, made)))
    yield made
    await made.presence.stop()
    await made.reauthorization.close()
    await made.blocks.close()
    await made.hub.close()
    await made.vitals.close()
    await made.heartbeat.close()
    made.timers.stop()


def hurry(node: Node, **options: Any) -> None:
    """Change the configuration of a node that runs already."""
    node.config = msgspec.structs.replace(node.config, **options)
