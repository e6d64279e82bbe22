"""A private Redis for the engine."""

from tests.store.fixtures import mortal_redis, redis_process, redis_url, shared_redis, store

__all__ = ["mortal_redis", "redis_process", "redis_url", "shared_redis", "store"]
