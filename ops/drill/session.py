"""A session of drills: one installation, ordinary load, one fault after another, and no alarm that has no fault."""

from collections.abc import Sequence

from flotilla.ops.drill.drills import Drill, Result, run
from flotilla.ops.drill.load import Load
from flotilla.ops.drill.processes import DrillFailed
from flotilla.ops.drill.stack import Stack
from flotilla.ops.drill.timeline import Say


def drill_all(drills: Sequence[Drill], say: Say) -> list[Result]:
    """Run drills in order on one installation. Raises DrillFailed with the ends of the logs."""
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
