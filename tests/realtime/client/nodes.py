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
KEPT = {**ALLOWED, **HISTORY, "force_recovery": True}
MAP = {
    **ALLOWED,
    "history_size": 100,
    "history_ttl": "60s",
    "map": True,
    "allow_remove_for_client": True,
    "allow_remove_for_anonymous": True,
}
REALTIME = {
    "anonymous": True,
    "ping_interval": "1h",  # peers in this process answer none, and a busy machine may take long for a test
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
        "tagged": {**KEPT, "allow_tags_filter": True},
        "tagged-plain": {**ALLOWED, "allow_tags_filter": True},
        "price": {**KEPT, "force_recovery_mode": "cache", "allow_tags_filter": True},
        "ticker": {**KEPT, "history_size": 1, "force_recovery_mode": "cache", "auto_cache_recover": True},
        "wall": {**KEPT, "history_size": 5000, "conflate": True, "allow_tags_filter": True},
        "wall-plain": {**ALLOWED, "conflate": True},
        "sure": {**KEPT, "conflate": True, "durable": True},
        "raw": {**KEPT, "publication_data_format": "binary"},
        "map": MAP,
        "map-owned": {**MAP, "map_owner": "user"},
        "map-mine": {**MAP, "map_owner": "client", "map_client_key": "client_id"},
        "map-leaving": {**MAP, "map_remove_client_on_unsubscribe": True},
        "map-small": {**MAP, "map_max_keys": 3, "map_max_bytes": 1000, "map_max_value_bytes": 600},
        "map-brief": {**MAP, "map_key_ttl": "1s"},
        "map-raw": {**MAP, "publication_data_format": "binary"},
        "watched": {**KEPT, "presence": True, "map_clients": True, "map_users": True},
        "watched-inside": {
            "presence": True,
            "map_clients": True,
            "map_users": True,
            "allow_subscribe_for_client": True,
            "allow_subscribe_for_anonymous": True,
            "allow_presence_for_subscriber": True,
            "allow_presence_for_anonymous": True,
        },
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
