"""A plan for people: what it takes, what is full first, what deaths cost; and, when asked, the formulae."""

from collections.abc import Iterator

from flotilla.ops.plan.deaths import RETRY, instance_dies, redis_dies
from flotilla.ops.plan.sizing import GROWN, Plan, hangs_on
from flotilla.ops.plan.turns import LIGHT
from flotilla.ops.plan.usage import HEADERS, MICRO, Parts, each_delivery
from flotilla.presence.registry import REFRESH_EVERY

NOTABLE = 0.02  # seconds between the first member of a room and the last
REFRESHED = REFRESH_EVERY / 60  # minutes
UNITS = ("B", "KB", "MB", "GB", "TB")
OPTION = {
    "users": "everything (--users with their --rooms, --rate the same)",
    "rooms": "--rooms, each with fewer members",
    "members": "--members",
    "rate": "--rate",
    "size": "--size",
    "reconnects": "--reconnects",
    "from_clients": "--from-clients",
}


def lines(made: Plan) -> Iterator[str]:
    """The plan, a line at a time."""
    load = made.load
    yield (
        f"{load.connections:,} connections, {load.rooms:,} rooms of {number(load.members)}, "
        f"{number(load.rate)} publications/s: {number(load.deliveries)} deliveries/s"
    )
    yield ""
    yield from _needs(made)
    yield ""
    yield from _full_first(made)
    yield from _deaths(made)
    yield ""
    yield f"if one thing were {GROWN:g} times as much, and the rest as it is, the cores would grow by"
    for name, share in hangs_on(made)[:3]:
        yield f"            {share:+.0%}  {OPTION[name]}"
    source = made.costs.source
    yield ""
    yield f"costs       of {source.day}, {source.machine}, {source.redis}; {source.command}"


def _needs(made: Plan) -> Iterator[str]:
    load, used = made.load, made.usage
    yield (
        f"instances   {used.instances:,}, each with {used.connections:,.0f} connections: {used.instance:.2f} cores, "
        f"{size(used.instance_bytes)}"
    )
    yield f"            mostly {mostly(used.instance_cpu)}"
    yield f"            {bits(used.clients_out)} to clients, {bits(used.instance_in)} from Redis, each"
    local = load.members / used.instances * each_delivery(load, made.costs) * MICRO
    if local > NOTABLE:
        yield f"            the last member of a room is written to {local:.2g} s after the first"
    yield (
        f"Redis       {used.nodes:,}, each: {used.redis:.2f} cores, {size(used.redis_bytes)}, "
        f"{used.redis_commands:,.0f} commands/s, {bits(used.redis_in)} in, {bits(used.redis_out)} out"
    )
    yield f"            mostly {mostly(used.redis_cpu)}"
    yield (
        f"together    {made.cores:.1f} cores busy of {used.instances + used.nodes:,}, "
        f"{size(used.instance_bytes * used.instances)} in instances, {size(used.redis_bytes * used.nodes)} in Redis"
    )


def _full_first(made: Plan) -> Iterator[str]:
    first, used = made.first, made.usage
    if made.fits:
        yield f"full first  {first.name}: at {1 / max(first.share, 1e-9):.2f} times this load; then {first.mend}"
    else:
        yield f"DOES NOT FIT: {first.name} would need {first.share:.2f} times what there is; {first.mend}"
        if first.name == "core of an instance" and made.limits.instances is None:
            yield "            no number of instances helps: each hears all of rooms that have members everywhere"
    if first.name == "core of a Redis" and used.redis_cpu["instances that are there"] > used.redis / 2:
        yield "            mostly for what each instance asks: fewer, fuller instances help, more Redises do not"


def _deaths(made: Plan) -> Iterator[str]:
    death, away = instance_dies(made), redis_dies(made)
    if death.back_after is None:
        where = "there is no other" if made.usage.instances == 1 else "the others have no time left for them"
        yield f"one dies    {death.clients:,.0f} clients, and {where}: they wait for its replacement"
    else:
        yield (
            f"one dies    {death.clients:,.0f} clients are back within {death.back_after:,.0f} s "
            f"({death.per_second:,.0f} a second; {death.silent_back_after:,.0f} s if its host goes silent); "
            f"each of the others then {death.after:.2f} cores"
        )
    yield (
        f"a Redis     {away.rooms:,.0f} rooms wait, {number(away.refused)} publications/s are refused; "
        f"when it is back, {away.compared:,.0f} channels are compared in {away.compared_within:,.0f} s"
    )
    yield f"            if it came back empty: {away.told:,.0f} subscriptions are told, and load their data again"


def explained(made: Plan) -> Iterator[str]:
    """Every part of every figure, and how it is computed."""
    for title, parts, shown in (
        ("CPU of an instance, cores", made.usage.instance_cpu, "{:.4f}"),
        ("memory of an instance, bytes", made.usage.instance_memory, "{:,.0f}"),
        ("CPU of a Redis, cores", made.usage.redis_cpu, "{:.4f}"),
        ("memory of a Redis, bytes", made.usage.redis_memory, "{:,.0f}"),
    ):
        yield ""
        yield title
        for name, value in parts.items():
            yield f"    {name:<32} {shown.format(value):>14}"
    yield ""
    yield from FORMULAE.splitlines()


FORMULAE = f"""\
How it is computed. I instances, N Redises, R rooms of M members, λ publications a second; costs as in the file.
    Rooms are on one Redis each: the busiest has ⌈R/N⌉ of them, which stands as R/N below.
    I_room    instances with members of a room  = I × (1 − (1 − 1/I)^M)
    heard     of one instance, a second         = λ × I_room / I
    deliveries of one instance, a second        = λ × M / I
    instance  itself + connections × stay + (reconnects/I) × (come + go) + taken × λ × --from-clients / I
              + heard × heard_us + deliveries × delivery_us + quiet channels / --check-every × check + turns × wake
    Redis     itself + I × instance_us + (λ/N) × published + (λ × I_room / N) × listener
              + reconnects × (come + go) / N + quiet channels × I_room / N / --check-every × check
              + turns × (wake + I_room × write)
    turns     of an event loop with `events` a second, busy for a share of the time:
              events × (1 − busy) × e^(events × busy / turns): alone each event wakes it, under load they share turns;
              publications of a room in one turn leave as one message (joined_us instead of delivery_us)
              rarer turns are dearer: each costs wake_us × ({LIGHT:g} / turns a second)^cooling
    memory    base + connections × connection + subscriptions + presence + channels; Redis also
              R × --history × (stream + kept publications × (kept_bytes + --size × kept_byte_bytes)),
              kept = least of --history-size and publications of a room in --history-ttl
    I and N   the least with which no core is busier than 1 − --headroom and no memory, file limit or network is full
    a death   its clients / (what is left of the others' cores / come), and up to {RETRY:g} s of an SDK's delay
Assumed: rooms alike, connections spread evenly, events independent of each other; a recovery costs what a connect
costs; a join or leave costs what a publication without history costs; a refresh of presence (every {REFRESHED:g}
minutes, for each channel and user of an instance) costs what a comparison costs; {HEADERS} bytes of headers for each
message. TLS, HTTP, live models, the outbox, limits of rates and the database are not in it."""


def mostly(parts: Parts) -> str:
    """The two largest parts, with their shares."""
    total = sum(parts.values()) or 1.0
    largest = sorted(parts.items(), key=lambda one: -one[1])[:2]
    return ", ".join(f"{name} ({value / total:.0%})" for name, value in largest)


def number(value: float) -> str:
    """A number for people: three digits that matter, or all of a large one."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def size(count: float) -> str:
    """Bytes, for people."""
    power = 0
    while count >= 1024 and power < 4:
        count, power = count / 1024, power + 1
    return f"{count:.3g} {UNITS[power]}" if count < 1000 else f"{count:,.0f} {UNITS[power]}"


def bits(count: float) -> str:
    """Bytes a second as bits a second, for people."""
    count *= 8
    for unit in ("bit/s", "kbit/s", "Mbit/s"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} Gbit/s"
