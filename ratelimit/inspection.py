"""Inspection of the limits, and resets, for `manage.py ratelimit` and the admin. It blocks."""

import struct
from typing import NamedTuple

from flotilla.ratelimit import keys
from flotilla.ratelimit.algorithms import gcra, window
from flotilla.ratelimit.algorithms.answers import Answer
from flotilla.ratelimit.algorithms.rates import TICKS, Rate
from flotilla.ratelimit.policies import Policy
from flotilla.ratelimit.service import announce_change, get_limits
from flotilla.ratelimit.subjects import Subject, by_address, by_key, by_network, identity_of

EPOCH = 1767225600  # as in lua/take.lua
COUNTED = ("ip", "user", "user_or_ip", "connection")  # keys that can be told of somebody who asks nothing now
_ENTRY = struct.Struct(">dI")


class Hot(NamedTuple):
    """A key that is denied often: `denials` in the last hour or so, in the whole cluster."""

    policy: str
    identity: str
    denials: int


class Standing(NamedTuple):
    """What a policy leaves somebody: `left` of a quota, None for who is exempt; `denied_for` seconds, 0 for not at all.
    `personal`: another rate than everybody's."""

    policy: str
    identity: str
    rate: str
    quota: int
    left: int | None
    denied_for: float
    personal: bool


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


def standings(subject: Subject, *guards: str) -> list[Standing]:
    """What is left to a user, an address or a connection of each policy that counts it; with `guards` of those alone
    that guard something that begins so. Nothing is taken. Raises StoreUnavailable."""
    from flotilla.ratelimit import personal

    table, found = personal.load(), []
    for policy in get_limits().policies:
        if policy.key not in COUNTED or policy.narrow is not None or not _guards(policy, guards):
            continue
        identity = identity_of(policy.key, subject)
        if identity is not None:
            rate = table.get((policy.name, identity), policy.rate)
            found.append(_standing(policy, identity, rate))
    return found


def _guards(policy: Policy, beginnings: tuple[str, ...]) -> bool:
    return not beginnings or any(guard.startswith(beginnings) for guard in policy.guards)


def _standing(policy: Policy, identity: str, rate: Rate | None) -> Standing:
    if rate is None:
        return Standing(policy.name, identity, "exempt", 0, None, 0.0, True)
    answer = standing(policy, identity, rate)
    left = answer.remaining + (policy.cost if answer.allowed else 0)
    denied_for = 0.0 if answer.allowed else answer.retry_after / 1e6
    return Standing(policy.name, identity, str(rate), rate.quota, left, denied_for, rate != policy.rate)


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
