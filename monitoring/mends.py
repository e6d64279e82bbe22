"""What to do about a Redis that refuses, by the code of its error: half a sentence each, for the log."""

ACL = "give its user the rights in docs/SECURITY.md"
_CLUSTER = (
    "the address of a Redis Cluster is redis+cluster://host:port,host:port, that of a Redis by itself redis://host:port"
)
_MOVES = "a slot is being moved to another node: wait, or end it with `redis-cli --cluster fix`"

_MENDS = {
    "NOPERM": ACL,
    "NOAUTH": "the address lacks a user or password",
    "WRONGPASS": "the address's user or password is wrong",
    "READONLY": "it is a replica: give the master's address, or that of sentinels",
    "MASTERDOWN": "it is a replica that has lost its master: give the master's address, or that of sentinels",
    "NOREPLICAS": "min-replicas-to-write is not met: start its replicas, or lower it",
    "MISCONF": "its last snapshot failed, so it takes no writes: make room on its disk; its own log says more",
    "OOM": "maxmemory is reached: raise it, or keep shorter histories",
    "LOADING": "it is reading its file; wait",
    "BUSY": "somebody's script does not end: SCRIPT KILL",
    "VERSION": "Redis 6.2 or newer is needed",
    "LAYOUT": "REDIS_URL must be the same in all processes; to change it, docs/SCALE_OUT.md#more-or-fewer-redises",
    "CLUSTER": _CLUSTER,
    "CROSSSLOT": _CLUSTER,
    "MOVED": f"in a cluster its nodes do not agree who has the slot; {_CLUSTER}",
    "CLUSTERDOWN": "slots of the cluster have no master: start its nodes (`redis-cli --cluster check` says which)",
    "ASK": _MOVES,
    "TRYAGAIN": _MOVES,
}
_NO_DATABASE = "the database at the end of the address does not exist there: give another number, or raise `databases`"


def mend(code: str, text: str) -> str:
    """What to do; the runbook, where nothing better is known."""
    if "DB index" in text:
        return _NO_DATABASE
    return _MENDS.get(code, "docs/OPERATIONS.md#redis_errors has more")
