"""Inspection of the limits, and resets, for `manage.py ratelimit` and the admin. It blocks."""

import struct
from typing import NamedTuple

from flotilla.ratelimit import keys
from flotilla.ratelimit.algorithms import gcra, window
from flotilla.ratelimit.algorithms.answers import Answer
from flotilla.ratelimit.algorithms.rates import TICKS, Rate
from flotilla.ratelimit.policies import Policy
from flotilla.ratelimit.service import announce_change, get_limits
from flotilla.ratelimit.subjects import by_address, by_key, by_network

EPOCH = 1767225600  # as in lua/take.lua
_ENTRY = struct.Struct(">dI")


class Hot(NamedTuple):
    """A key that is denied often: `denials` in the last hour or so, in the whole cluster."""

    policy: str
    identity: str
    denials: int


def read_identity(text: str) -> str:
    """The identity that people mean by ip:ADDRESS, net:ADDRESS, user:ID or header:VALUE."""
    kind, _, value = text.partition(":")
    if kind == "ip" and value:
        return by_address(value)
    if kind == "net" and value:
        return by_network(value.partition("/")[0])
    if kind == "header" and value:
        return by_key(value)
    return text


def rate_for(policy: Policy, identity: str) -> Rate | None:
    """The rate of this identity as the database has it now; None when it is exempt."""
    from flotilla.ratelimit import personal

    return personal.load().get((policy.name, identity), policy.rate)


def standing(policy: Policy, identity: str, rate: Rate) -> Answer:
    """The answer that a request would get now, without taking anything. Raises StoreUnavailable."""
    shard = get_limits().limiter.sync_shard
    seconds, micros = map(int, shard.execute_sync("TIME"))
    now = (seconds - EPOCH) * 1_000_000 + micros
    state = shard.execute_sync("GET", keys.bucket(policy.name, identity, rate))
    if rate.strict:
        return window.take(_log(state or b""), now, cost(policy, rate), rate)[0]
    return gcra.take(int(state or 0), now * TICKS, cost(policy, rate), rate)[0]


def cost(policy: Policy, rate: Rate) -> int:
    """What a request takes of a rate: a personal one below the policy's cost is taken as a whole."""
    return min(policy.cost, rate.quota)


def reset(policy: Policy, identity: str) -> bool:
    """Give an identity its whole quota back, everywhere; True if it had used any. Raises StoreUnavailable."""
    rate = rate_for(policy, identity) or policy.rate
    found = get_limits().limiter.sync_shard.execute_sync("DEL", keys.bucket(policy.name, identity, rate))
    announce_change()
    return bool(found)


def hottest(most: int = 50) -> list[Hot]:
    """The keys denied most in the last hour or so. Raises StoreUnavailable."""
    flat = get_limits().limiter.sync_shard.execute_sync("ZREVRANGE", keys.hottest(), 0, most - 1, "WITHSCORES")
    found = []
    for member, score in zip(flat[::2], flat[1::2], strict=True):
        policy, _, identity = member.decode(errors="replace").partition("\n")
        found.append(Hot(policy, identity, int(float(score))))
    return found


def _log(state: bytes) -> window.Log:
    return tuple((int(start), count) for start, count in _ENTRY.iter_unpack(state[4:]))
