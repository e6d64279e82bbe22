"""One load run from beginning to end: Artillery on a place, both readers, the verdicts, the files.

A run whose generator was itself late measured this machine rather than the server: what failed and may be this
machine's own is neither a pass nor a failure, it was not measured. What fails on times alone may be repeated; a verdict
is never changed by that.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flotilla.ops.drill.processes import DrillFailed
from flotilla.ops.drill.timeline import Say
from flotilla.ops.load import admitted, report_page, server_side, slo, verdicts
from flotilla.ops.load.artillery import Job, Outcome
from flotilla.ops.load.artillery import run as run_artillery
from flotilla.ops.load.destinations import Place, Variables
from flotilla.ops.load.figures import Figures, NotAReport, read
from flotilla.ops.load.progress import Live, seconds
from flotilla.ops.load.verdicts import Verdict
from flotilla.ops.prometheus_api import Unreachable

HOLDS, FAILS, NOT_MEASURED = "holds", "fails", "not measured"
LATE = 25.0  # milliseconds: a generator whose own p95 is later measures itself


@dataclass(frozen=True, slots=True)
class Result:
    """What a run came to."""

    figures: Figures
    verdicts: list[Verdict]
    server: str  # the server's own p95 beside the clients'
    folder: Path

    @property
    def passed(self) -> bool:
        """Whether everything holds."""
        return all(one.passed for one in self.verdicts)

    @property
    def conclusion(self) -> str:
        """What it comes to in a word: holds, fails, or not measured, where nothing failed for certain."""
        if self.passed:
            return HOLDS
        return FAILS if any(not one.passed and one.measured for one in self.verdicts) else NOT_MEASURED

    @property
    def late(self) -> bool:
        """Whether the generator measured itself."""
        return is_late(self.figures)

    @property
    def doubtful(self) -> bool:
        """Whether a busy machine could be all that failed: nothing but times did, or the generator was late."""
        failed = {one.name for one in self.verdicts if not one.passed}
        return self.late or failed <= {*verdicts.TIMES, verdicts.ARTILLERY}


def run(
    profile: str, place: Place, folder: Path, say: Say, changed: Variables | None = None, prometheus: str = ""
) -> Result:
    """Run a profile and judge it. Raises DrillFailed when there is nothing to judge."""
    objectives = slo.load(profile)
    conditions = slo.conditions(objectives, place.without)
    variables = {**place.variables, **(changed or {})}
    job = Job(profile, place.address, folder, variables, conditions, place.token_secret, place.secure)
    live = Live(profile, folder, say)
    before = _before(place)
    began = time.monotonic()
    try:
        outcome = run_artillery(job, live.show)
    finally:
        live.end()
    try:
        figures = read(outcome.report)
    except NotAReport as error:
        raise DrillFailed(str(error)) from None
    held = admitted.judge(place.promised, admitted.journal(folder))
    found = verdicts.judge(objectives, figures, held, place.without)
    found.append(verdicts.artillery(outcome.checks, outcome.exit_code))
    if is_late(figures):
        found = verdicts.doubted(found)
    server = _server(place, before, prometheus, time.monotonic() - began, figures)
    result = Result(figures, found, server, folder)
    _write(profile, outcome, result)
    return result


def is_late(figures: Figures) -> bool:
    """Whether the generator measured itself."""
    return (figures.late.p95 or 0.0) > LATE


def repeated(attempts: int, once: Callable[[], Result], say: Say) -> Result:
    """Repeat what failed as a busy machine makes it fail; a slow server does so every time. The last run counts."""
    result = once()
    while not result.passed and result.doubtful and attempts > 1:
        attempts -= 1
        say("; ".join(str(one) for one in result.verdicts if not one.passed))
        say("the machine may have been too busy: once more …")
        result = once()
    return result


def _before(place: Place) -> server_side.Buckets:
    try:
        return server_side.buckets(place.metrics)
    except OSError as error:
        raise DrillFailed(f"an instance does not answer: {error}") from None


def _server(place: Place, before: server_side.Buckets, prometheus: str, took: float, figures: Figures) -> str:
    try:
        if prometheus:
            p95 = server_side.from_prometheus(prometheus, took)
        elif place.metrics:
            p95 = server_side.p95(before, server_side.buckets(place.metrics))
        else:
            return ""
    except (OSError, Unreachable) as error:
        return f"server-side p95: {error}"
    return server_side.compared(p95, figures.delivery.p95)


def _write(profile: str, outcome: Outcome, result: Result) -> None:
    judged = [asdict(one) for one in result.verdicts]
    own: dict[str, Any] = {"profile": profile, "passed": result.passed, "conclusion": result.conclusion}
    own |= {"verdicts": judged, "server": result.server}
    told = seconds(result.folder)
    (result.folder / "report.json").write_text(json.dumps({**outcome.report, "flotilla": own | {"seconds": told}}))
    title = f"Load: {profile}: the SLO {result.conclusion if result.conclusion != NOT_MEASURED else 'was not measured'}"
    shown = report_page.render(title, result.verdicts, result.figures, told, result.server)
    (result.folder / "report.html").write_text(shown)
