"""A private Redis, and a service that is told."""

from collections.abc import Iterator

import pytest

from tests.realtime.client.nodes import configured, node, other
from tests.realtime.webhooks.receiver import Service, serving
from tests.store.fixtures import mortal_redis, redis_process, redis_url, shared_redis, store

__all__ = ["configured", "mortal_redis", "node", "other", "redis_process", "redis_url", "shared_redis", "store"]


@pytest.fixture
def service() -> Iterator[Service]:
    with serving() as made:
        yield made
