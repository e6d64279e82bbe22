"""A node on a private Redis."""

from tests.realtime.client.nodes import configured, node
from tests.store.fixtures import mortal_redis, redis_process, redis_url, shared_redis

__all__ = ["configured", "mortal_redis", "node", "redis_process", "redis_url", "shared_redis"]
