"""What one instance costs, for sizing: `python -m tests.bench.sizing`.

Three minutes on a Redis and an instance of its own, in three parts: nobody connected, many connected and silent, all
publishing. Each figure is a difference between two parts, so what the process costs by itself is not in it. Prints the
table that docs/SCALE_OUT.md shows.
"""

import argparse
from collections.abc import Iterator

from tests.bench.costs.scales import Scales, Used
from tests.bench.jobs.base import Job, Plan, staged
from tests.bench.load import AT_ONCE, Figures, payload
from tests.bench.machine import description
from tests.bench.servers.base import Shape
from tests.bench.servers.flotilla import Flotilla

ROOM = 50
RATE = 400  # publications a second, far below what an instance can do: nothing is joined
PUBLISHING = 10.0  # seconds


def weigh(clients: int, idle: float) -> Iterator[tuple[str, str]]:
    """Name and value of each figure, as they are found."""
    job = Job("sizing", "", ("flotilla",), lambda _: shape, lambda _: Figures(), "", {})
    shape = Shape(rooms=clients // ROOM, members=ROOM, by_clients=True, message=payload())
    with staged(Flotilla, job, Plan(quick=False, say=print)) as stage:
        scales = Scales(stage)
        stage.load.connect(200)
        stage.load.tell("disconnect")
        stage.meter.wait_quiet()
        alone = scales.over(idle)
        yield "an instance without clients: commands to Redis a second", f"{alone.commands / alone.seconds:.1f}"
        yield "the same: CPU of the instance", percent(alone)

        scales.begin()
        stage.load.connect(clients, AT_ONCE)
        stage.meter.wait_quiet()
        came = scales.end()
        yield "memory of a connection in the instance", f"{came.instance_bytes / clients / 1024:.1f} KB"
        yield "the same in Redis (presence and registry)", f"{came.redis_bytes / clients / 1024:.2f} KB"
        yield "a connect with one subscription: commands to Redis", f"{came.commands / clients:.1f}"
        yield "the same: CPU of the instance, of Redis", both(came, clients)

        silent = scales.over(idle)
        for_them = silent.commands / silent.seconds - alone.commands / alone.seconds
        yield f"{clients:,} silent connections in {shape.rooms} channels: commands to Redis a second", f"{for_them:.1f}"
        yield "the same: for a connection in an hour", f"{for_them / clients * 3600:.1f}"
        yield "the same: CPU of the instance", percent(silent, alone)

        scales.begin()
        figures = stage.load.run(PUBLISHING, rate=RATE)
        sent, count = scales.end(), figures["published"]
        assert not figures["lost"], figures
        yield f"a publication to {ROOM}: commands to Redis", f"{(sent.commands - for_them * sent.seconds) / count:.2f}"
        yield "the same: CPU of the instance, of Redis", both(sent, count)
        yield "a publication kept in history, in Redis", f"{sent.redis_bytes / count:,.0f} bytes"


def both(used: Used, count: int) -> str:
    """CPU of instance and Redis for one of `count`."""
    return f"{used.instance_cpu / count * 1e6:.0f} µs, {used.redis_cpu / count * 1e6:.0f} µs"


def percent(used: Used, without: Used | None = None) -> str:
    """CPU of the instance, in percent of a core, beyond what it used `without`."""
    share = used.instance_cpu / used.seconds - (without.instance_cpu / without.seconds if without else 0.0)
    return f"{max(0.0, share) * 100:.1f} %"


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description="What one instance used.")
    parser.add_argument("--clients", type=int, default=2_000)
    parser.add_argument("--idle", type=float, default=80.0, help="seconds of each silent part")
    wanted = parser.parse_args()
    machine = description()
    print(f"{machine['cpu']}, {machine['system']}, Python {machine['python']}")
    print("\n| | |\n|---|---:|")
    for name, value in weigh(wanted.clients, wanted.idle):
        print(f"| {name} | {value} |", flush=True)


if __name__ == "__main__":
    main()
