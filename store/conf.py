"""The settings of the store: which Redises, and what this process and the cluster are called there."""

import os
import platform
import sys
from functools import cached_property

import msgspec
from django.core.exceptions import ImproperlyConfigured

from flotilla.conf import Part
from flotilla.config_reader import Reader
from flotilla.problems import Problem
from flotilla.store import in_process, isolation
from flotilla.store.address import MEMORY, WrongAddress
from flotilla.store.urls import checked_urls, of_cluster

REDIS_MEND = (
    "Write redis://[:password@]host[:port][/db], rediss://… for TLS, unix:///path/to/socket, redis+sentinel://"
    "host:port,host:port/master, or redis+cluster://host:port,host:port; percent-encode what is not a letter or "
    "digit in a password."
)


NO_REDIS_MEND = (
    'Set FLOTILLA = {"redis_url": "redis://localhost:6379/0"}, or the variable REDIS_URL. '
    f"For tests and a first try, {MEMORY} is a Redis inside of the process."
)
BRACES = frozenset("{}")
NO_BRACES = "Write it with letters, digits and `-._:`."
ALONE = "Other processes cannot be reached: each has an engine of its own instead of a Redis."


class StoreConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """Where the cluster keeps what its processes share."""

    redis_url: str | tuple[str, ...] = ()
    """One Redis, or a list of them to share the load (each a shard): addresses as `redis://localhost:6379/0`, also
    separated by commas; or a Redis Cluster, as `redis+cluster://host:6379,host:6379`. Without it, the setting or the
    environment's variable REDIS_URL. `memory://` is an engine inside of the process, for tests and a first try; where
    no Redis is named, tests use it, and while DEBUG is on everything but `serve`."""
    redis_durable: bool = False
    """Redis loses nothing that it answered (`appendfsync always`), so its restart ends no stream."""
    prefix: str = "flotilla"
    """What every key in Redis begins with. Clusters with different prefixes on one Redis do not see each other."""
    instance_id: str = ""
    """This process's name in metrics and in the admin; by default the name of the host. Who starts under the name of
    an instance that lives is refused."""

    @property
    def redis_urls(self) -> tuple[str, ...]:
        """The addresses; none where no Redis is configured."""
        return (self.redis_url,) if isinstance(self.redis_url, str) else self.redis_url

    @cached_property
    def virtual_shards(self) -> int:
        """As how many shards a cluster is used; 0 where Redis is none."""
        return of_cluster(self.redis_urls) if self.redis_urls else 0

    @property
    def in_process(self) -> bool:
        """Whether the engine in the process is used instead of a Redis."""
        return MEMORY in self.redis_urls


def _sources(reader: Reader) -> None:
    from django.conf import settings

    found = getattr(settings, "REDIS_URLS", None) or getattr(settings, "REDIS_URL", None)
    if found:
        reader.add({"redis_url": found}, "settings.REDIS_URL")
    elif url := os.environ.get("REDIS_URL", ""):
        reader.add({"redis_url": url}, "the environment's REDIS_URL")
    elif isolation.begun() or (settings.DEBUG and not serves() and in_process.can_run()):
        reader.add({"redis_url": MEMORY}, "what tests and DEBUG use where no Redis is configured")


def _build(reader: Reader) -> StoreConfig:
    given = reader.values.pop("redis_url", ())
    try:
        urls = checked_urls(given if isinstance(given, str) else ",".join(given)) if given else []
    except WrongAddress as error:
        reader.problems.append(Problem("redis_url", str(error), REDIS_MEND, reader.where("redis_url")))
        urls = []
    if not BRACES.isdisjoint(reader.values.get("prefix", "")):
        where = reader.where("prefix")
        reader.problems.append(Problem("prefix", "{ and } in it would decide in which slot a key is", NO_BRACES, where))
    name = reader.values.pop("instance_id", "") or platform.node() or "flotilla"
    made = StoreConfig(**reader.values, redis_url=tuple(urls), instance_id=name)
    return msgspec.structs.replace(made, prefix=isolation.own(made.prefix))


def serves() -> bool:
    """Whether this is `manage.py serve`, whose processes share a Redis."""
    return sys.argv[1:2] == ["serve"] or sys.argv[1:3] == ["flotilla", "serve"]


def require_shared_store() -> None:
    """For a process that is to reach others. Raises ImproperlyConfigured where each has an engine of its own;
    tests are in one process with what they reach."""
    if get_store_config().in_process and not isolation.begun():
        raise ImproperlyConfigured(f"{ALONE} {NO_REDIS_MEND}")


get_store_config = Part(
    StoreConfig,
    {"redis_durable": "REDIS_DURABLE", "prefix": "REALTIME_PREFIX", "instance_id": "INSTANCE_ID"},
    also=("REDIS_URLS", "REDIS_URL"),
    unsaid=("redis_url",),
    sources=_sources,
    build=_build,
)
"""The store's settings as they are now."""
