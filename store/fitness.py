"""Whether a server can be used at all, from what INFO server says of it. Pure.

What depends on the user's rights, or is only wrong for a while, is found by trying (`flotilla.monitoring.probe`).
"""

from flotilla.store.errors import StoreRefused

OLDEST = (6, 2)  # HRANDFIELD, ZMSCORE, rights on pub/sub channels


def require_fit(info: bytes) -> None:
    """Raise StoreRefused for a server in cluster mode (CLUSTER), or one that is too old (VERSION)."""
    told = _fields(info)
    if "cluster" in (told.get("redis_mode"), told.get("server_mode")):  # Redis; Valkey
        raise StoreRefused("CLUSTER", "CLUSTER it runs in cluster mode (cluster-enabled yes)")
    version = told.get("redis_version", "")
    parts = version.split(".")[:2]
    if all(part.isdigit() for part in parts) and tuple(map(int, parts)) < OLDEST:
        raise StoreRefused(
            "VERSION", f"VERSION it is {version}, and {'.'.join(map(str, OLDEST))} is the oldest possible"
        )


def _fields(info: bytes) -> dict[str, str]:
    pairs = (line.strip().partition(":") for line in info.decode(errors="replace").splitlines())
    return {name: value for name, _, value in pairs}
