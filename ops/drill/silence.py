"""Drills in which nobody may be told anything: what is planned is no fault, however long it takes.

Each is made under load, on an installation of its own whose drains are slower than the alerts' patience, and followed
until well after its end. That it was seen at all is checked too: `flotilla_draining` must have reached Prometheus.
"""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from flotilla.ops.drill.load import Load
from flotilla.ops.drill.processes import DrillFailed, wait_for
from flotilla.ops.drill.stack import Stack
from flotilla.ops.drill.timeline import Say, Timeline
from flotilla.ops.prometheus_api import Unreachable

ORDINARY = 20.0  # seconds of load before
QUIET_WITHIN = 240.0
ALWAYS = {"watchdog"}  # the dead man's switch
OVER_WITHIN = 180.0  # seconds it may take
SILENT_AFTER = 60.0  # seconds for which nothing may follow: twice as long as a kill takes to be told
SEEN = 'max_over_time(flotilla_draining{job="flotilla"}[5m]) == 1'


@dataclass(frozen=True, slots=True)
class Silence:
    """Something planned, and when it is over. `supervised`: the instances are those of one `manage.py serve`."""

    name: str
    plan: str
    make: Callable[[Stack], None]
    over: Callable[[Stack], bool]
    supervised: bool


@dataclass(frozen=True, slots=True)
class Silent:
    """What such a drill found: for how many seconds the receiver heard nothing."""

    name: str
    seconds: float

    def __str__(self) -> str:
        return f"silent for {self.seconds:.1f} s, from its begin on"

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {"drill": self.name, "silent": round(self.seconds, 1)}


def keep_silent(silence: Silence, say: Say) -> Silent:
    """One drill, on an installation of its own. Raises DrillFailed with the ends of the logs."""
    say("starting Redis, two instances whose drain is slow, Prometheus and Alertmanager …")
    with Stack(supervised=silence.supervised, slow_drain=True) as stack:
        load = Load(stack)
        load.start()
        try:
            return _keep_silent(silence, stack, Timeline(silence.name, say))
        except DrillFailed as error:
            raise DrillFailed(f"{error}\n{stack.tails()}") from None
        finally:
            load.stop()


def _keep_silent(silence: Silence, stack: Stack, line: Timeline) -> Silent:
    _await_quiet(stack, silence.name)
    line.begin(silence.plan)
    silence.make(stack)
    wait_for(lambda: _told(stack, line.began) or silence.over(stack), f"{silence.name}: it is over", OVER_WITHIN)
    line.note("it is over")
    until = time.monotonic() + SILENT_AFTER
    wait_for(lambda: _told(stack, line.began) or time.monotonic() > until, silence.name, SILENT_AFTER + 10)
    if told := _told(stack, line.began):
        raise DrillFailed(f"{silence.name}: the receiver was told {told}, though all went as planned")
    try:
        if not stack.prometheus.query(SEEN):
            raise DrillFailed(f"{silence.name}: Prometheus never saw that an instance drained")
    except Unreachable as error:
        raise DrillFailed(str(error)) from None
    return Silent(silence.name, line.note("the receiver has heard nothing"))


def _await_quiet(stack: Stack, name: str) -> None:
    """Ordinary load for a while; what a slow start has set off has its time to go."""
    noisy = time.monotonic()

    def quiet() -> bool:
        nonlocal noisy
        if _pending(stack):
            noisy = time.monotonic()
        return time.monotonic() - noisy > ORDINARY

    wait_for(quiet, f"{name}: quiet before it begins", QUIET_WITHIN)


def _pending(stack: Stack) -> set[str]:
    """The alerts that are pending or firing; not the one that always fires."""
    try:
        return {alert["labels"]["alertname"] for alert in stack.prometheus.alerts()} - ALWAYS
    except Unreachable:
        return set()


def _told(stack: Stack, since: float) -> str:
    """What the receiver was told of from a moment on (monotonic)."""
    fires = [alert for when, alert in list(stack.receiver.alerts) if when >= since and alert["status"] == "firing"]
    return ", ".join(sorted({alert["labels"]["alertname"] for alert in fires} - ALWAYS))


SILENCES = [
    Silence(
        "rolling_restart",
        "SIGHUP to `manage.py serve`: one instance after the other is replaced, each drain takes its time",
        lambda stack: stack.instances[0].send(signal.SIGHUP),
        lambda stack: "every instance was replaced" in stack.instances[0].text(),
        supervised=True,
    ),
    Silence(
        "planned_stop",
        "instance 0 is told to end (SIGTERM), and stays away",
        lambda stack: stack.instances[0].send(signal.SIGTERM),
        lambda stack: not stack.instances[0].running,
        supervised=False,
    ),
]
