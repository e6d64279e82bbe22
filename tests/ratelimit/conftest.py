"""A limiter on a Redis of the tests' own; the background thread is not run: a test calls `sync` where it needs it."""

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio

from flotilla.ratelimit import keys, service
from flotilla.ratelimit.algorithms.rates import parse_rate
from flotilla.ratelimit.decisions import Claim
from flotilla.ratelimit.limiter import Limiter, Patience
from flotilla.ratelimit.policies import Policy
from flotilla.ratelimit.service import SYNC_TIMEOUT, TIMEOUT, reset_limits
from flotilla.store import Shard
from flotilla.store.slots import key_slot
from flotilla.store.urls import in_slot
from tests.store.fixtures import mortal_redis, redis_process, redis_url, shared_redis, store

__all__ = ["mortal_redis", "redis_process", "redis_url", "shared_redis", "store"]


def claim(rate: str, name: str = "policy", identity: str = "ip:192.0.2.1", **options: Any) -> Claim:
    """A claim of one policy."""
    parsed = parse_rate(rate)
    policy = Policy(name, ("http",), options.pop("key", "ip"), parsed, **options)
    return Claim(policy, identity, parsed, keys.bucket(name, identity, parsed))


PATIENCE = 10.0  # seconds, where a test is not about deadlines: the machine may be busy


def make_limiter(url: str, **options: Any) -> Limiter:
    """A limiter as the service makes it."""
    url = in_slot(url, key_slot(keys.TAG))
    return Limiter(Shard(0, url, TIMEOUT), Shard(0, url, SYNC_TIMEOUT), **options)


@pytest_asyncio.fixture
async def limiter(redis_url: str) -> AsyncIterator[Limiter]:
    """A limiter on an empty Redis, which waits for it."""
    url = in_slot(redis_url, key_slot(keys.TAG))
    made = Limiter(Shard(0, url, PATIENCE), Shard(0, url, PATIENCE), patience=Patience(PATIENCE, PATIENCE, PATIENCE))
    yield made
    await made.close()


@pytest.fixture
def names() -> Callable[[], str]:
    """Names that no other policy of the test has."""
    numbers = itertools.count()
    return lambda: f"policy-{next(numbers)}"


@pytest.fixture
def limits_settings(settings: Any, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Settings for this Redis, without a thread and in no hurry."""
    for name in ("TIMEOUT", "SYNC_TIMEOUT"):
        monkeypatch.setattr(service, name, PATIENCE)
    monkeypatch.setattr(service, "PATIENCE", Patience(PATIENCE, PATIENCE, PATIENCE))
    settings.RATE_LIMIT_REDIS_URL = redis_url
    settings.RATE_LIMIT_BACKGROUND_SYNC = False
    yield settings
    reset_limits()
