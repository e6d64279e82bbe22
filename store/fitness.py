"""Whether a server can be used at all, from what INFO says of it. Pure.

What depends on the user's rights, or is only wrong for a while, is found by trying (`flotilla.monitoring.probe`).
"""

from flotilla.store.errors import StoreRefused

OLDEST = (6, 2)  # HRANDFIELD, ZMSCORE, rights on pub/sub channels
SHARDED_TOPICS = (7, 0)  # SSUBSCRIBE, SPUBLISH


def require_fit(info: bytes, *, of_cluster: bool = False) -> None:
    """Raise StoreRefused for a server that is too old (VERSION), or runs in cluster mode (CLUSTER) where its address
    is not that of a cluster."""
    told = _fields(info)
    if not of_cluster and "cluster" in (told.get("redis_mode"), told.get("server_mode")):  # Redis; Valkey
        raise StoreRefused("CLUSTER", "CLUSTER it runs in cluster mode (cluster-enabled yes)")
    if (version := _version(told)) is not None and version < OLDEST:
        least = ".".join(map(str, OLDEST))
        raise StoreRefused("VERSION", f"VERSION it is {told['redis_version']}, and {least} is the oldest possible")


def has_sharded_topics(info: bytes) -> bool:
    """Whether a node of a cluster can tell of a topic those alone who are subscribed where its slot is."""
    version = _version(_fields(info))
    return version is not None and version >= SHARDED_TOPICS


def _version(told: dict[str, str]) -> tuple[int, ...] | None:
    """Major and minor version of Redis, or of that for which Valkey stands; None where it is not told."""
    parts = told.get("redis_version", "").split(".")[:2]
    return tuple(map(int, parts)) if all(part.isdigit() for part in parts) else None


def is_master(info: bytes) -> bool:
    """Whether INFO replication is a master's; one that does not say is taken for one."""
    return _fields(info).get("role", "master") == "master"


def require_master(info: bytes) -> None:
    """Raise StoreRefused (READONLY) where INFO replication is a replica's: what it has may be old."""
    if not is_master(info):
        raise StoreRefused("READONLY", "READONLY it is a replica, which may be behind its master")


def _fields(info: bytes) -> dict[str, str]:
    pairs = (line.strip().partition(":") for line in info.decode(errors="replace").splitlines())
    return {name: value for name, _, value in pairs}
