"""Every Redis key of the limits. All carry one short hash tag and live on the one Redis of RATE_LIMIT_REDIS_URL.

Keys are hashed and short: a GCRA key with its value takes at most 80 bytes of Redis's memory, whatever its allocator,
and nobody can read from Redis which address or user was here.
"""

from base64 import urlsafe_b64encode
from functools import lru_cache
from hashlib import blake2b

from flotilla.ratelimit.algorithms.rates import Rate
from flotilla.store.conf import get_store_config

TAG = "{rl}"
SHORT = 128  # characters of an identity whose keys are remembered: a client may choose its own


def bucket(policy: str, identity: str, rate: Rate) -> str:
    """The state of one identity under one policy. The kinds of rate keep different states, so each has its own key."""
    make = _bucket if len(identity) <= SHORT else _bucket.__wrapped__
    return make(get_store_config().prefix, "s" if rate.strict else "g", policy, identity)


@lru_cache(maxsize=4096)
def _bucket(*parts: str) -> str:
    name = "\0".join(parts)
    return TAG + urlsafe_b64encode(blake2b(name.encode(errors="replace"), digest_size=12).digest()).decode()


def _of_cluster(name: str) -> str:
    return f"{TAG}:{get_store_config().prefix}:{name}"


def version() -> str:
    """Integer: goes up whenever personal limits changed or a key was reset."""
    return _of_cluster("version")


def alive() -> str:
    """Sorted set: process → ms of Redis's clock at its last sign of life."""
    return _of_cluster("alive")


def hottest() -> str:
    """Sorted set: policy LF identity → denials in the last hour or so."""
    return _of_cluster("hottest")


def journal(name: str) -> str:
    """List: the times of what was admitted, for tests that count it (RATE_LIMIT_JOURNAL)."""
    return _of_cluster(f"journal:{name}")
