"""Costs from what was measured: each is a difference between two experiments, so what both have is not in it. Pure.

Light runs have one event in a turn of the loop; in a flood a turn's own cost is shared by so many that it vanishes. So
the difference of the two is the turn.
"""

from collections.abc import Mapping
from math import log
from statistics import median
from typing import Any

from flotilla.ops.plan.costs import Costs, Instance, RedisCosts, Source, Thing
from tests.bench.costs.experiments import LARGE, LIGHT, OTHERS, RARE, ROOM, SMALL
from tests.bench.costs.scales import Used
from tests.bench.costs.server import OfSubscribers

Measured = Mapping[str, Used]
MORE = OfSubscribers.beside_subscriptions
MOST_COOLING = 0.9
BESIDE_EMPTY = LARGE - SMALL


def middle(rounds: list[Measured]) -> dict[str, Used]:
    """The medians of all rounds, figure by figure."""
    names = {name: None for one in rounds for name in one}  # a round may have measured some alone
    return {
        name: Used(*(median(getattr(one[name], field) for one in rounds if name in one) for field in Used.__slots__))
        for name in names
    }


def costs(found: Measured, source: Source, compressed_us: float, compressed_at: float) -> Costs:
    """The file of costs. What noise makes negative is 0."""
    quiet = found["alone"]
    own = {name: _without(used, quiet) for name, used in found.items() if name not in {"alone", "Redis alone"}}
    return Costs(
        source=source,
        instance=_instance(own, quiet, found),
        redis=_redis(own, quiet, found["Redis alone"]),
        connection=_thing(own, "visitor"),
        user=_thing(own, "user", "visitor"),
        subscription=_thing(own, "9 subscriptions", "visitor", MORE),
        presence=_thing(own, "present", "visitor"),
        channel=_thing(own, "own channel", "visitor"),
        frame_bytes=_round(own["to 1, light: client"].seconds - SMALL),
        compressed_us=_round(compressed_us),
        compressed_at=compressed_at,
    )


def _without(used: Used, quiet: Used) -> Used:
    """What an instance and its Redis use anyway, in the time that it took, taken away."""
    return Used(
        used.seconds,
        used.instance_cpu - quiet.instance_cpu * used.seconds,
        used.redis_cpu - quiet.redis_cpu * used.seconds,
        used.instance_bytes,
        used.redis_bytes,
        used.redis_in - quiet.redis_in * used.seconds,
        used.redis_out - quiet.redis_out * used.seconds,
        used.commands - quiet.commands * used.seconds,
    )


def _thing(own: Measured, name: str, beside: str = "", count: int = 1) -> Thing:
    come, go = own[f"{name}: come"], own[f"{name}: go"]
    if beside:
        come, go = come - own[f"{beside}: come"], go - own[f"{beside}: go"]
    return Thing(
        come_us=_round(come.instance_cpu / count),
        go_us=_round(go.instance_cpu / count),
        held_bytes=_round(come.instance_bytes / count),
        redis_come_us=_round(come.redis_cpu / count),
        redis_go_us=_round(go.redis_cpu / count),
        redis_bytes=_round(come.redis_bytes / count),
        commands=_round((come.commands + go.commands) / count),
    )


def _instance(own: Measured, quiet: Used, found: Measured) -> Instance:
    one, many = own["to 1, light"].instance_cpu, own["to 500, light"].instance_cpu
    flood, many_flood = own["to 1, flood"].instance_cpu, own["to 500, flood"].instance_cpu
    delivery = (many - one) / (ROOM - 1)
    by_byte = (own["to 500, light, large"].instance_cpu - many) / ROOM / BESIDE_EMPTY
    heard_byte = (own["to 1, flood, large"].instance_cpu - flood) / BESIDE_EMPTY
    joined = max((many_flood - flood) / (ROOM - 1), 0.0)
    heard = flood - joined
    taken = own["taken, flood"].instance_cpu - heard - delivery
    plain = own["taken, flood, nothing kept"].instance_cpu - heard - delivery
    beside = taken + heard + delivery
    wake = one - heard - delivery
    cooling, wakes = _turns(wake, own["taken, light"].instance_cpu - beside, own["taken, rare"].instance_cpu - beside)
    return Instance(
        base_us=_round(quiet.instance_cpu),
        base_bytes=_round(quiet.instance_bytes),
        base_commands=_round(quiet.commands),
        wake_us=_round(wake),
        cooling=_round(cooling),
        taken_us=_round(taken),
        taken_plain_us=_round(plain),
        taken_wakes=_round(wakes),
        heard_us=_round(heard - SMALL * max(heard_byte, 0.0)),
        heard_byte_us=_round(heard_byte),
        delivery_us=_round(delivery - SMALL * max(by_byte, 0.0)),
        delivery_byte_us=_round(by_byte),
        joined_us=_round(joined),
        stay_us=_round(own["visitor: stay"].instance_cpu),
        check_us=_round(own["check"].instance_cpu),
    )


def _turns(one: float, light: float, rare: float) -> tuple[float, float]:
    """How much dearer rarer turns are, and how many turns a client's publication takes: from one turn at LIGHT a
    second, and all turns of a client's publication at LIGHT and at RARE."""
    cooling = _cooling(light, rare)
    return cooling, max((max(light, 0.0) / max(one, 0.1)) ** (1 / (1 - cooling)), 1.0)


def _cooling(light: float, rare: float) -> float:
    if light <= 0 or rare <= light:
        return 0.0
    return min(log(rare / light) / log(LIGHT / RARE), MOST_COOLING)


def _redis(own: Measured, quiet: Used, itself: Used) -> RedisCosts:
    flood = own["to 1, flood"]
    listener = max((own["to 1 and 20, flood"].redis_cpu - flood.redis_cpu) / OTHERS, 0.0)
    write = max((own["to 1 and 20, light"].redis_cpu - own["to 1, light"].redis_cpu) / OTHERS - listener, 0.0)
    published, plain = own["taken, flood"].redis_cpu - listener, own["taken, flood, nothing kept"].redis_cpu - listener
    by_byte = max((own["to 1, flood, large"].redis_cpu - flood.redis_cpu) / BESIDE_EMPTY, 0.0)
    light = own["taken, light"].redis_cpu - published - listener - write
    rare = own["taken, rare"].redis_cpu - published - listener - write
    small, large = own["kept: small"].redis_bytes, own["kept: large"].redis_bytes
    kept_byte = (large - small) / BESIDE_EMPTY
    return RedisCosts(
        base_us=_round(itself.redis_cpu),
        instance_us=_round(quiet.redis_cpu - itself.redis_cpu),
        base_bytes=_round(quiet.redis_bytes),
        wake_us=_round(light),
        cooling=_round(_cooling(light, rare)),
        write_us=_round(write),
        published_us=_round(published - SMALL * by_byte),
        published_plain_us=_round(plain - SMALL * by_byte),
        published_byte_us=_round(by_byte),
        listener_us=_round(listener),
        check_us=_round(own["check"].redis_cpu),
        stream_bytes=_round(own["stream"].redis_bytes),
        kept_bytes=_round(small - SMALL * kept_byte),
        kept_byte_bytes=_round(kept_byte),
        asked_bytes=_round(flood.redis_in - SMALL),
        announced_bytes=_round((own["to 1 and 20, flood"].redis_out - flood.redis_out) / OTHERS - SMALL),
    )


def _round(value: float) -> float:
    """Four digits that matter."""
    return float(f"{max(value, 0.0):.4g}")


def as_used(raw: Mapping[str, Mapping[str, Any]]) -> dict[str, Used]:
    """What was measured, from a file of raw figures."""
    return {name: Used(**one) for name, one in raw.items()}
