"""A Redis that may be killed."""

from tests.store.fixtures import mortal_redis

__all__ = ["mortal_redis"]
