"""Nodes on a private Redis."""

from tests.realtime.client.nodes import configured, node, other
from tests.realtime.outbox.conftest import on_sqlite
from tests.store.fixtures import mortal_redis, redis_process, redis_url, shared_redis

__all__ = ["configured", "mortal_redis", "node", "on_sqlite", "other", "redis_process", "redis_url", "shared_redis"]
