"""Settings for a private Redis, for what asks it."""

from tests.realtime.client.nodes import configured
from tests.store.fixtures import redis_process, redis_url, shared_redis

__all__ = ["configured", "redis_process", "redis_url", "shared_redis"]
