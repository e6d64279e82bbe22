"""A private Redis with the settings of the other tests, and ann, who is in every example."""

import pytest
from django.contrib.auth.models import User

from tests.realtime.client.nodes import configured
from tests.store.fixtures import redis_process, redis_url, shared_redis

__all__ = ["configured", "redis_process", "redis_url", "shared_redis"]


@pytest.fixture
def ann() -> User:
    return User.objects.create_user("ann", password="the password of ann")
