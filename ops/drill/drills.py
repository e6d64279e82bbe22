"""The drills: each makes one real fault, follows its alert to the receiver, mends the fault, and sees it resolved.

Seconds are bounded: a drill that takes longer than its limit has failed, whatever it saw.
"""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from flotilla.ops.drill.load import Load
from flotilla.ops.drill.processes import DrillFailed, wait_for
from flotilla.ops.drill.stack import Stack
from flotilla.ops.drill.timeline import Say, Timeline
from flotilla.ops.prometheus_api import Unreachable

NOTIFIED_WITHIN = 90.0  # seconds from the fault to the receiver
TOLD_OF_A_KILL_WITHIN = 30.0  # the same of an instance that is gone
RESOLVED_WITHIN = 240.0  # seconds from the mend to the receiver
QUIET_BEFORE = 15.0  # seconds of ordinary load in which nothing may fire


@dataclass(frozen=True, slots=True)
class Drill:
    """A fault, how Prometheus first sees it, and the alert that must come of it."""

    name: str
    alert: dict[str, str]
    fault: str
    make: Callable[[Stack, Load], None]
    mend: Callable[[Stack, Load], None]
    seen: str  # an expression that has a result once the fault can be seen
    seen_as: str
    notified_within: float = NOTIFIED_WITHIN
    resolved_within: float = RESOLVED_WITHIN
    needs: str = ""  # a metric without which there is nothing to drill
    labels_of: Callable[[Stack], dict[str, str]] = field(default=lambda stack: {})


@dataclass(frozen=True, slots=True)
class Result:
    """What a drill found, in seconds from the fault and from the mend."""

    name: str
    notified: float
    resolved: float

    def __str__(self) -> str:
        return f"notified after {self.notified:.1f} s, resolved {self.resolved:.1f} s after the repair"

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {"drill": self.name, "notified": round(self.notified, 1), "resolved": round(self.resolved, 1)}


def run(drill: Drill, stack: Stack, load: Load, say: Say) -> Result:
    """One drill on a stack that is well. Raises DrillFailed."""
    if drill.needs and not _has(stack, drill.needs):
        raise DrillFailed(f"{drill.name}: this installation has no {drill.needs}")
    labels = drill.alert | drill.labels_of(stack)
    line = Timeline(drill.name, say)
    _await_quiet(drill, stack)
    line.begin(drill.fault)
    drill.make(stack, load)
    try:
        line.wait(lambda: _has(stack, drill.seen), drill.seen_as, drill.notified_within)
        line.wait(lambda: _state(stack, labels), "pending", drill.notified_within)
        line.wait(lambda: _state(stack, labels) == "firing", "firing", drill.notified_within)
        arrived = lambda: stack.receiver.notified("firing", labels, line.began)  # noqa: E731
        notified = line.wait(arrived, "notification at the receiver", drill.notified_within)
    finally:
        drill.mend(stack, load)
    mended = time.monotonic()
    line.note("fault removed")
    gone = lambda: stack.receiver.notified("resolved", labels, mended)  # noqa: E731
    resolved = line.wait(gone, "resolved at the receiver", drill.resolved_within) - (mended - line.began)
    if notified > drill.notified_within:
        raise DrillFailed(f"{drill.name}: the notification took {notified:.1f} s")
    return Result(drill.name, notified, resolved)


def _await_quiet(drill: Drill, stack: Stack) -> None:
    """Ordinary load must not fire it; what an earlier drill left behind has its time to go."""
    wait_for(lambda: not _state(stack, drill.alert), f"{drill.name}: quiet before the fault", RESOLVED_WITHIN)
    quiet_until = time.monotonic() + QUIET_BEFORE
    while time.monotonic() < quiet_until:
        if _state(stack, drill.alert):
            raise DrillFailed(f"{drill.name}: {drill.alert} is there without a fault")
        time.sleep(0.5)


def _state(stack: Stack, labels: dict[str, str]) -> str:
    try:
        found = [alert["state"] for alert in stack.prometheus.alerts() if labels.items() <= alert["labels"].items()]
    except Unreachable:
        return ""
    return "firing" if "firing" in found else "".join(found[:1])


def _has(stack: Stack, expression: str) -> bool:
    try:
        return bool(stack.prometheus.query(expression))
    except Unreachable:
        return False


# The faults


def _kill(stack: Stack, load: Load) -> None:
    stack.instances[0].kill()


def _start_again(stack: Stack, load: Load) -> None:
    stack.instances[0].start()


def _pause_redis(stack: Stack, load: Load) -> None:
    stack.redis.send(signal.SIGSTOP)


def _resume_redis(stack: Stack, load: Load) -> None:
    stack.redis.send(signal.SIGCONT)


def _first(stack: Stack) -> dict[str, str]:
    return {"instance": stack.target(0)}


READY = 'app_ready{job="flotilla"}'
DRILLS = [
    Drill(
        "readiness_down",
        {"alertname": "readiness_down", "severity": "warning"},
        "instance 0 is killed (SIGKILL)",
        _kill,
        _start_again,
        'up{job="flotilla"} == 0',
        "target down",
        notified_within=TOLD_OF_A_KILL_WITHIN,
        labels_of=_first,
    ),
    Drill(
        "redis_down",
        {"alertname": "readiness_down", "severity": "critical"},
        "Redis is paused (SIGSTOP)",
        _pause_redis,
        _resume_redis,
        f"{READY} == 0",
        "an instance says that it is not ready",
    ),
    Drill(
        "redis_errors",
        {"alertname": "redis_errors"},
        "Redis is paused (SIGSTOP)",
        _pause_redis,
        _resume_redis,
        f"{READY} == 0",
        "an instance says that it is not ready",
    ),
    Drill(
        "rl_spike",
        {"alertname": "rl_spike"},
        "one client floods the limit drill-publish",
        lambda stack, load: load.flood(1),
        lambda stack, load: load.end("flood"),
        'flotilla:ratelimit_denied:rate1m{policy="drill-publish"} > 5',
        "denials above the floor",
        needs="flotilla_ratelimit_decisions_total",
    ),
    Drill(
        "slow_consumers",
        {"alertname": "slow_consumers"},
        "a dozen clients ask for much and read nothing",
        lambda stack, load: load.deaf(1, 12),
        lambda stack, load: load.hear(12),
        "sum(rate(flotilla_slow_clients_dropped_total[2m])) > 0",
        "clients dropped with 3008",
    ),
    Drill(
        "insufficient_recoveries",
        {"alertname": "insufficient_recoveries"},
        "clients come back with a place of another epoch",
        lambda stack, load: load.lost(1),
        lambda stack, load: load.end("lost"),
        "flotilla:recoveries_insufficient:rate5m > 0",
        "recoveries that are insufficient",
        notified_within=150.0,
        resolved_within=400.0,  # a rate of five minutes has to run out
    ),
    Drill(
        "outbox_delayed",
        {"alertname": "outbox_delayed", "database": "default"},
        "the relay that has the lease hangs",
        lambda stack, load: stack.hang_relay(),
        lambda stack, load: stack.end_relay(),
        "max(flotilla_outbox_oldest_seconds) > 20",
        "durable publications that wait",
        notified_within=180.0,  # a minute and a half is its patience
    ),
    Drill(
        "webhook_undelivered",
        {"alertname": "webhook_undelivered", "of": "waiting"},
        "the service of a webhook refuses every request",
        lambda stack, load: stack.service.away.set(),
        lambda stack, load: stack.service.away.clear(),
        "max(flotilla_webhook_lag_seconds) > 15",
        "an event that waits",
        notified_within=420.0,  # five minutes are its patience
    ),
]
