"""What Flotilla's user of Redis must be allowed: every command that the product sends or runs in a script, with words
that readiness tries it with (`probe`), and the ACL that grants exactly that.

The tests compare these tables with the scripts and with docs/SECURITY.md.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from flotilla.store import Placement
from flotilla.store.announcing import is_sharded

Command = tuple[str | int, ...]

KEPT = 10_000  # ms after which what a check has written is gone

OUTSIDE = ("blpop", "eval", "evalsha", "info", "script|load", "subscribe", "unsubscribe")
"""Commands that connections send themselves; all others are run within scripts, too."""
OF_CLUSTERS = ("cluster|info", "cluster|nodes", "cluster|slots", "spublish", "ssubscribe", "sunsubscribe")
"""What a cluster needs besides, for everything but the limits: a server that is none may not know these commands."""
OUTSIDE_OF_LIMITS = ("eval", "evalsha", "info", "script|load")


class ProbeKeys(NamedTuple):
    """Keys of a process's checks, one of each kind of value; all share one hash tag."""

    string: str
    bits: str
    hash: str
    set: str
    sorted: str
    list: str
    stream: str

    @classmethod
    def of(cls, placement: Placement) -> "ProbeKeys":
        """The keys of a name on its own."""
        return cls(*(placement.key(f"health-{kind}") for kind in cls._fields))


def commands(keys: ProbeKeys, topic: str, now_ms: int) -> list[Command]:
    """Each command on a Redis of REDIS_URL, those of a cluster where the topic is of one. What is left afterwards is a
    list of one entry, for a moment."""
    string, bits, hash_, set_, sorted_, list_, stream = keys
    return [
        ("del", *keys),
        ("set", string, 1, "PX", KEPT),
        ("get", string),
        ("exists", string),
        ("incr", string),
        ("expire", string, KEPT // 1000),
        ("pexpire", string, KEPT),
        ("pexpireat", string, now_ms + KEPT),
        ("pttl", string),
        ("setbit", bits, 1, 1),
        ("getbit", bits, 1),
        ("hset", hash_, "f", 1),
        ("hsetnx", hash_, "g", 1),
        ("hincrby", hash_, "f", 1),
        ("hget", hash_, "f"),
        ("hmget", hash_, "f", "g"),
        ("hgetall", hash_),
        ("hexists", hash_, "f"),
        ("hlen", hash_),
        ("hscan", hash_, 0),
        ("hrandfield", hash_, 1),
        ("hdel", hash_, "f"),
        ("sadd", set_, "m"),
        ("scard", set_),
        ("smembers", set_),
        ("srandmember", set_, 1),
        ("sscan", set_, 0),
        ("srem", set_, "m"),
        ("zadd", sorted_, 1, "m"),
        ("zcard", sorted_),
        ("zcount", sorted_, "-inf", "+inf"),
        ("zmscore", sorted_, "m"),
        ("zrange", sorted_, 0, -1),
        ("zrangebyscore", sorted_, "-inf", "+inf"),
        ("zrevrange", sorted_, 0, -1),
        ("zscore", sorted_, "m"),
        ("zrem", sorted_, "m"),
        ("xadd", stream, "MAXLEN", 1, "1-0", "d", 1),
        ("xlen", stream),
        ("xrange", stream, "-", "+"),
        ("xrevrange", stream, "+", "-"),
        ("publish", topic, ""),
        *([("spublish", topic, "")] if is_sharded(topic) else []),
        ("ping",),
        ("time",),
        ("rpush", list_, 1, 2),
        ("llen", list_),
        ("lrange", list_, 0, 0),
        ("lpop", list_),
        ("pexpire", list_, KEPT),
        ("del", *keys[:5], stream),
    ]


def commands_of_limits(keys: ProbeKeys) -> list[Command]:
    """Each command on the Redis of the limits."""
    string, sorted_ = keys.string, keys.sorted
    return [
        ("del", string, sorted_),
        ("set", string, 1, "PX", KEPT),
        ("get", string),
        ("incr", string),
        ("expire", string, KEPT // 1000),
        ("pexpire", string, KEPT),
        ("zadd", sorted_, 1, "m"),
        ("zincrby", sorted_, 1, "m"),
        ("zcard", sorted_),
        ("zrevrange", sorted_, 0, -1),
        ("zremrangebyscore", sorted_, "-inf", 1),
        ("zremrangebyrank", sorted_, 0, -1),
        ("time",),
        ("del", string, sorted_),
    ]


def names(tried: Iterable[Command], outside: Iterable[str]) -> list[str]:
    """The names of commands, in order of the alphabet."""
    return sorted({str(command[0]) for command in tried} | set(outside))


def acl(user: str, keys: Sequence[str], topics: Sequence[str], allowed: Iterable[str]) -> str:
    """The ACL SETUSER line that grants exactly this; PASSWORD stands for the password."""
    rights = [f"~{key}" for key in keys] + [f"&{topic}" for topic in topics] + [f"+{name}" for name in allowed]
    return f"ACL SETUSER {user} reset resetchannels on >PASSWORD {' '.join(rights)}"
