"""What a death costs: an instance dies and its clients come back to the others; a Redis is away, and is back. Pure."""

from dataclasses import dataclass
from functools import partial
from math import ceil, inf

from flotilla.ops.plan.load import SETTINGS
from flotilla.ops.plan.sizing import Plan
from flotilla.ops.plan.usage import MICRO, each_connection, usage

LEASE = SETTINGS.lease_ttl + SETTINGS.reaper_interval
"""Seconds until a dead instance's entries are taken out: its lease, and the reaper's next look."""
SILENT = SETTINGS.ping_interval + 10.0
"""Seconds until a client notices a silent peer: a ping, and the SDK's 10 s."""
RETRY = 1.0  # seconds that an SDK waits at most before its first attempt
HEALED = 2.0  # seconds from a Redis that answers again to instances that are ready


@dataclass(frozen=True, slots=True)
class InstanceDeath:
    """`back_after`: seconds from a killed process to the last client's return; None: the others cannot take them.

    `during` and `after` are the cores that each of the others uses.
    """

    clients: float
    back_after: float | None
    silent_back_after: float | None
    per_second: float
    during: float
    after: float
    redis_during: float
    entries_gone_after: float


@dataclass(frozen=True, slots=True)
class RedisDeath:
    """`compared` channels are read again when it is back, which takes `compared_within` seconds; where it came back
    empty, `told` subscriptions load their data again."""

    rooms: float
    refused: float
    compared: float
    compared_within: float
    told: float


def instance_dies(made: Plan) -> InstanceDeath:
    """One of them is killed, with all its clients."""
    load, costs, used = made.load, made.costs, made.usage
    clients, others = used.connections, used.instances - 1
    come = each_connection(load, costs, "come_us") * MICRO
    redis_come = (each_connection(load, costs, "redis_come_us") + each_connection(load, costs, "redis_go_us")) * MICRO
    nobody_takes_them = partial(InstanceDeath, clients, None, None, 0.0, entries_gone_after=LEASE)
    if not others:
        return nobody_takes_them(during=0.0, after=0.0, redis_during=used.redis)
    later = usage(load, costs, others, used.nodes)
    left = max(0.0, 1.0 - later.instance)
    each = left / come if come else inf
    redis_left = max(0.0, 1.0 - later.redis) * used.nodes / redis_come if redis_come else inf
    rate = min(each * others, redis_left)
    if rate <= 0:
        return nobody_takes_them(during=1.0, after=later.instance, redis_during=later.redis)
    took = clients / rate + RETRY
    rate = clients / took
    return InstanceDeath(
        clients=clients,
        back_after=took,
        silent_back_after=took + SILENT,
        per_second=rate,
        during=min(1.0, later.instance + rate / others * come),
        after=later.instance,
        redis_during=min(1.0, later.redis + rate * redis_come / used.nodes),
        entries_gone_after=LEASE,
    )


def redis_dies(made: Plan) -> RedisDeath:
    """One of them goes away and comes back."""
    load, used, costs = made.load, made.usage, made.costs
    here = ceil(load.rooms / used.nodes)  # of the rooms
    channels = used.instance_channels * here / load.rooms
    compared = channels * used.instances * load.history
    of_redis = compared * costs.redis.check_us * MICRO
    of_instance = channels * load.history * costs.instance.check_us * MICRO
    return RedisDeath(
        rooms=here,
        refused=load.room_rate * here,
        compared=compared,
        compared_within=max(of_redis, of_instance) + HEALED,
        told=here * load.members,
    )
