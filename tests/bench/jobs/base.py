"""What jobs share: a started server with its load client (`Stage`), how large a run is, and the search for a rate."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.load import Figures, LoadClient
from tests.bench.machine import Cores, Meter
from tests.bench.servers.base import Server, Shape

STEP = 1.125  # between one rate and the next
MAX_LATENCY = 250_000  # microseconds: p99 of what counts as delivered in time


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how large: everything is smaller when it has to be `quick`. `say` shows progress."""

    quick: bool
    say: Callable[[str], None]

    def size(self, full: int, quick: int) -> int:
        """A number of clients or the like."""
        return quick if self.quick else full

    def seconds(self, full: float) -> float:
        """The length of a part of a job."""
        return min(full, 1.0) if self.quick else full


@dataclass(slots=True)
class Stage:
    """A started server and the load client that is set up for it."""

    server: Server
    load: LoadClient
    meter: Meter
    plan: Plan
    connected: int = 0
    redis: Meter | None = None

    def ensure(self, count: int) -> None:
        """Have `count` clients, all anew if any was lost."""
        if self.connected != count or self.load.tell("status")["ready"] != count:
            self.load.tell("disconnect")
            self.meter.wait_quiet()
            self.load.connect(count)
            self.connected = count

    def run(self, seconds: float, *, rate: float = 0, window: int = 0, publications: int = 0) -> Figures:
        """As the load client's, with the CPU time of the server and of Redis, and what follows from it."""
        before, redis_before = self.meter.cpu(), self.redis.cpu() if self.redis else 0.0
        figures = self.load.run(seconds, rate=rate, window=window, publications=publications)
        figures["server_cpu"] = self.meter.cpu() - before
        figures["redis_cpu"] = self.redis.cpu() - redis_before if self.redis else 0.0
        took, received = max(figures["seconds"], 1e-6), max(figures["received"], 1)
        figures["per_second"] = figures["received"] / took
        figures["us_each"] = figures["server_cpu"] / received * 1e6
        figures["client_load"] = figures["client_cpu"] / took
        return figures

    def everything(self) -> Meter:
        """All that this bench runs for the job, the load client and helpers included."""
        return Meter([*self.server.pids, *(one.pid for one in self.server.helpers if one.running), self.load.pid])


@dataclass(frozen=True, slots=True)
class Job:
    """One job: what it measures, for which servers, and how. `headline` names the figure that ratios are made of."""

    name: str
    title: str
    servers: tuple[str, ...]
    shape: Callable[[Plan], Shape]
    measure: Callable[[Stage], Figures]
    headline: str
    columns: dict[str, str]  # figure → heading, with its unit
    more_is_better: bool = True
    panel: str = ""  # its title in the chart; empty: it has none
    baseline: str = "flotilla"
    processes: int = 0  # cores to look for when several processes are compared; 0: as many as the server has
    notes: tuple[str, ...] = field(default=())


@contextmanager
def served(kind: type[Server], shape: Shape, cores: Cores) -> Iterator[Server]:
    """A started server of a kind; ended with everything it began when the block ends. An error is given its log."""
    home = Path(tempfile.mkdtemp(prefix="flotilla-bench-"))
    server = kind(home, shape, cores)
    try:
        server.start()
        yield server
    except Exception as error:
        for process in server.server_processes:
            error.add_note(process.tail())
        raise
    finally:
        server.stop()
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def staged_on(server: Server, plan: Plan) -> Iterator[Stage]:
    """A load client for a server as it is now shaped."""
    with LoadClient(server.cores.for_rest()) as load:
        redis = Meter([server.redis.pid]) if server.uses_redis else None
        set_up(load, server)
        yield Stage(server, load, Meter(server.pids), plan, redis=redis)


@contextmanager
def staged(kind: type[Server], job: Job, plan: Plan) -> Iterator[Stage]:
    """A server of a kind and a load client, started for a job."""
    with (
        served(kind, job.shape(plan), Cores(job.processes or kind.processes)) as server,
        staged_on(server, plan) as stage,
    ):
        yield stage


def set_up(load: LoadClient, server: Server) -> None:
    """Tell the load client whom it will speak to, and how publications are sent."""
    shape = server.shape
    texts = {"path": server.path, "hello": server.hello, "again": server.hello_again, "then": server.then}
    texts["beside"] = server.beside
    words: dict[str, object] = {name: text.encode().hex() for name, text in texts.items()}
    words |= {"secure": int(server.secure), "dialect": server.dialect, "transport": server.transport}
    words["ports"] = ",".join(map(str, server.ports))
    load.tell("setup", {**words, "rooms": shape.rooms, "members": shape.members, "sources": shape.sources})
    load.publish_through(server.publishing())


def kept_up(figures: Figures) -> bool:
    """Whether everything arrived, once, in order and in time."""
    faults = ("lost", "gaps", "late", "errors", "dropped")
    return not any(figures[name] for name in faults) and figures["latency"]["p99"] < MAX_LATENCY


def best_rate(stage: Stage, clients: int) -> Figures:
    """The best rate of publications that the server keeps up with, found from what it does when it is flooded.

    Flooding keeps a window of publications under way; from there the rate goes up in steps of an eighth until it is too
    much, or down, at least as far as what was managed, until it is not.
    """
    plan, window = stage.plan, stage.server.window
    stage.ensure(clients)
    stage.run(plan.seconds(1.5), window=min(window, 4))  # everything is imported and compiled before it counts
    flood = stage.run(plan.seconds(3), window=window)
    rate = flood["published"] / max(flood["seconds"], 1e-6)
    plan.say(f"flooded: {flood['per_second']:,.0f} deliveries/s, {flood['us_each']:.1f} µs each")
    best = _search(stage, clients, rate)
    return {
        **_summary(best or {}),
        "flood": flood["per_second"],
        "flood_us_each": flood["us_each"],
        "flood_lost": flood["lost"],
        "flood_client_load": flood["client_load"],
        "complaint": flood["complaint"],
    }


def _search(stage: Stage, clients: int, rate: float) -> Figures | None:
    best, falling = None, False
    for _ in range(3 if stage.plan.quick else 8):
        stage.ensure(clients)
        figures = stage.run(max(stage.plan.seconds(3), 1.0 if stage.plan.quick else min(20 / rate, 15)), rate=rate)
        held = kept_up(figures)
        stage.plan.say(
            f"{rate:9,.1f} publications/s: p99 {figures['latency']['p99'] / 1000:.1f} ms, lost {figures['lost']}"
            f"{'' if held else ': too much'} {figures['complaint']}"
        )
        if held:
            best = figures
            if falling:
                break
            rate *= STEP
        elif best:
            break
        else:
            falling = True
            rate = min(rate / STEP, 0.95 * figures["published"] / figures["seconds"])
    return best


def _summary(best: Figures) -> Figures:
    """What the table shows of the best run; nothing held: zero."""
    latency = best.get("latency", {})
    return {
        "per_second": best.get("per_second", 0.0),
        "p50_ms": latency.get("p50", 0) / 1000,
        "p99_ms": latency.get("p99", 0) / 1000,
        "us_each": best.get("us_each", 0.0),
        "client_load": best.get("client_load", 0.0),
    }
