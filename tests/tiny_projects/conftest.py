"""A Redis for the projects."""

from tests.store.fixtures import redis_process, redis_url, shared_redis

__all__ = ["redis_process", "redis_url", "shared_redis"]
