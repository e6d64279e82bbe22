"""The proof that the dashboards show something: each query of each panel and variable, on a real Prometheus under load.

A query must answer with numbers that are finite; and where a fault is made, the panel that should show it must move.
"""

import contextlib
import json
import math
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from flotilla.ops.drill.load import Load
from flotilla.ops.drill.processes import DrillFailed, wait_for
from flotilla.ops.drill.stack import Stack
from flotilla.ops.drill.timeline import Say
from flotilla.ops.grafana.build import FOLDER
from flotilla.ops.grafana.panels import DASHBOARDS
from flotilla.ops.prometheus_api import Prometheus, Unreachable

LOADED_FOR = 60.0  # seconds of load before anything is asked
MOVES_WITHIN = 60.0
RECORDED_WITHIN = 150.0  # seconds in which rules that are evaluated once a minute have something to record
OPTIONAL = {panel.title for board in DASHBOARDS for panel in board.panels if panel.optional}
AS_GRAFANA = {"$__rate_interval": "30s", "$job": "flotilla", "$cluster": ".*", "$instance": ".*"}


@dataclass(frozen=True, slots=True)
class Shown:
    """What one query of a dashboard gave: its values by legend; empty when it gave nothing, as may one of what need not
    be there, or of an event that has not happened."""

    dashboard: str
    panel: str
    query: str
    values: dict[str, float]
    may_be_empty: bool = False

    @property
    def proven(self) -> bool:
        """Whether there is something to draw."""
        there = bool(self.values) or self.may_be_empty
        return there and all(math.isfinite(value) for value in self.values.values())

    def __str__(self) -> str:
        shown = ", ".join(f"{legend} {value:.4g}" for legend, value in sorted(self.values.items())[:6])
        more = f" … {len(self.values)} in all" if len(self.values) > 6 else ""
        mark = "ok  " if self.proven else "FAIL"
        return f"{mark} {self.dashboard:<20} {self.panel:<32} {shown or 'nothing: ' + self.query}{more}"


def look(prometheus: Prometheus) -> list[Shown]:
    """Every query of every dashboard, once."""
    return [
        shown for path in sorted(FOLDER.glob("*.json")) for shown in _look(prometheus, json.loads(path.read_text()))
    ]


def _look(prometheus: Prometheus, dashboard: dict[str, Any]) -> Iterator[Shown]:
    name = dashboard["uid"]
    for variable in dashboard["templating"]["list"]:
        found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"])
        if found:
            series, label = found.groups()
            known = prometheus.label_values(label, _filled(series))
            yield Shown(name, f"${variable['name']}", variable["query"], dict.fromkeys(known, 1.0))
    for event in dashboard["annotations"]["list"]:
        values = _values(prometheus, event["expr"], event["titleFormat"])
        yield Shown(name, f"event {event['name']}", event["expr"], values, may_be_empty=True)
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            values = _values(prometheus, target["expr"], target["legendFormat"])
            yield Shown(name, panel["title"], target["expr"], values, may_be_empty=panel["title"] in OPTIONAL)


def _values(prometheus: Prometheus, query: str, legend: str) -> dict[str, float]:
    return {_legend(legend, sample["metric"]): float(sample["value"][1]) for sample in prometheus.query(_filled(query))}


def _filled(query: str) -> str:
    for variable, value in AS_GRAFANA.items():
        query = query.replace(variable, value)
    return query


def _legend(legend: str, labels: dict[str, str]) -> str:
    return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), legend).strip()


@dataclass(frozen=True, slots=True)
class Move:
    """A fault, and what a panel must show of it."""

    fault: str
    panel: str
    make: Callable[[Stack, Load], None]
    mend: Callable[[Stack, Load], None]
    shows: Callable[[float, float], bool]  # before, now; of the sum of the panel's first query


MOVES = (
    Move(
        "instance 0 is killed",
        "Ready instances",
        lambda stack, load: stack.instances[0].kill(),
        lambda stack, load: stack.instances[0].start(),
        lambda before, now: before == 1 and now == 0.5,
    ),
    Move(
        "Redis is paused",
        "Calls given up and refused",
        lambda stack, load: stack.redis.send(signal.SIGSTOP),
        lambda stack, load: stack.redis.send(signal.SIGCONT),
        lambda before, now: now > before + 1,
    ),
    Move(
        "one client floods a limit",
        "Denied, by policy",
        lambda stack, load: load.flood(1),
        lambda stack, load: load.end("flood"),
        lambda before, now: before < 1 and now > 10,
    ),
    Move(
        "clients ask for much and read nothing",
        "Outgoing bytes waiting",
        lambda stack, load: load.deaf(1, 12),
        lambda stack, load: load.hear(12),
        lambda before, now: now > before + 10_000,
    ),
    Move(
        "the service of a webhook refuses every request",
        "Webhooks: how far behind",
        lambda stack, load: stack.service.away.set(),
        lambda stack, load: stack.service.away.clear(),
        lambda before, now: before < 5 and now > 15,
    ),
    Move(
        "the relay that has the lease hangs",
        "Outbox: how far behind",
        lambda stack, load: stack.hang_relay(),
        lambda stack, load: stack.end_relay(),
        lambda before, now: before < 5 and now > 15,
    ),
    Move(
        "instance 1 stops for two seconds, again and again",
        "Event-loop lag, average",
        lambda stack, load: _stutter(stack),
        lambda stack, load: stack.instances[1].send(signal.SIGCONT),
        lambda before, now: now > before + 0.05,
    ),
)


def _stutter(stack: Stack) -> None:
    for _ in range(8):
        stack.instances[1].send(signal.SIGSTOP)
        time.sleep(2.0)
        stack.instances[1].send(signal.SIGCONT)
        time.sleep(0.3)


def prove(say: Say) -> list[Shown]:
    """Start an installation and its load, look at everything, break things and look again. Gives what each query has
    shown. Raises DrillFailed."""
    say("starting Redis, two instances, Prometheus and Alertmanager …")
    with Stack() as stack:
        load = Load(stack)
        load.start()
        try:
            began = time.monotonic()
            say(f"load for {LOADED_FOR:g} s …")
            wait_for(lambda: time.monotonic() - began > LOADED_FOR, "the load", LOADED_FOR + 5)
            with contextlib.suppress(DrillFailed):  # what has no value then is named below
                wait_for(lambda: not _unproven(look(stack.prometheus)), "every query has a value", RECORDED_WITHIN)
            shown = look(stack.prometheus)
            for one in shown:
                say(str(one))
            unproven = _unproven(shown)
            if unproven:
                raise DrillFailed(f"{len(unproven)} of {len(shown)} queries give nothing that can be drawn")
            for move in MOVES:
                _prove_move(move, stack, load, say)
            return shown
        except DrillFailed as error:
            raise DrillFailed(f"{error}\n{stack.tails()}") from None
        finally:
            load.stop()


def _unproven(shown: list[Shown]) -> list[Shown]:
    return [one for one in shown if not one.proven]


def _prove_move(move: Move, stack: Stack, load: Load, say: Say) -> None:
    query = next(one.query for one in look(stack.prometheus) if one.panel == move.panel)
    wait_for(lambda: _sum(stack, 'sum(app_ready{job="flotilla"})') == 2, "both instances are ready", MOVES_WITHIN)
    before = _sum(stack, query)
    move.make(stack, load)
    began = time.monotonic()
    try:
        wait_for(lambda: move.shows(before, _sum(stack, query)), f"{move.panel} shows that {move.fault}", MOVES_WITHIN)
        now = _sum(stack, query)
    finally:
        move.mend(stack, load)
    say(f"ok   {move.fault}: “{move.panel}” went from {before:.4g} to {now:.4g} in {time.monotonic() - began:.0f} s")


def _sum(stack: Stack, query: str) -> float:
    try:
        return sum(float(sample["value"][1]) for sample in stack.prometheus.query(_filled(query)))
    except Unreachable:
        return 0.0
