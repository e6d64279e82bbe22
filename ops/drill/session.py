"""A session of drills: faults, one after another, on one installation under ordinary load, and no alarm that has no
fault; what is planned, each on an installation of its own.
"""

from collections.abc import Sequence

from flotilla.ops.drill.drills import DRILLS, Drill, Result, run
from flotilla.ops.drill.load import Load
from flotilla.ops.drill.processes import DrillFailed
from flotilla.ops.drill.silence import SILENCES, Silence, Silent, keep_silent
from flotilla.ops.drill.stack import Stack
from flotilla.ops.drill.timeline import Say

ALL: list[Drill | Silence] = [*DRILLS, *SILENCES]
BY_NAME = {drill.name: drill for drill in ALL}
SHORT = (
    "readiness_down",
    "redis_down",
    "rl_spike",
    "rolling_restart",
    "planned_stop",
)  # `make drill` has time for these


def drill_all(names: Sequence[str], say: Say) -> list[Result | Silent]:
    """Run drills of BY_NAME, the faults first. Raises DrillFailed with the ends of the logs."""
    wanted = [BY_NAME[name] for name in names]
    faults = [drill for drill in wanted if isinstance(drill, Drill)]
    found: list[Result | Silent] = [*_make_faults(faults, say)] if faults else []
    return found + [keep_silent(silence, say) for silence in wanted if isinstance(silence, Silence)]


def _make_faults(drills: Sequence[Drill], say: Say) -> list[Result]:
    say("starting Redis, two instances, Prometheus and Alertmanager …")
    with Stack() as stack:
        load = Load(stack)
        load.start()
        try:
            results = [run(drill, stack, load, say) for drill in drills]
            _no_false_alarm(drills, stack)
            return results
        except DrillFailed as error:
            raise DrillFailed(f"{error}\n{stack.tails()}") from None
        finally:
            load.stop()


def _no_false_alarm(drills: Sequence[Drill], stack: Stack) -> None:
    """Ordinary load and the faults of other drills must not look like a flood."""
    names = {alert["labels"]["alertname"] for _, alert in stack.receiver.alerts}
    if "rl_spike" in names and not any(drill.name == "rl_spike" for drill in drills):
        raise DrillFailed("rl_spike was notified although nobody flooded")
