"""A private Redis for the store."""

from tests.store.fixtures import by_itself, mortal_redis, redis_process, redis_url, shared_redis, store

__all__ = ["by_itself", "mortal_redis", "redis_process", "redis_url", "shared_redis", "store"]
