"""One load run from beginning to end: where it goes to, Artillery on it, both readers, the verdicts, the files.

A run whose generator was itself late measured this machine rather than the server, and says so. What fails on times
alone may be repeated; a verdict is never changed by that.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from monitoring.drill.processes import ROOT, DrillFailed, Program, free_ports, wait_for
from monitoring.drill.stack import answers
from monitoring.drill.timeline import Say
from monitoring.load import admitted, page, server_side, slo, verdicts
from monitoring.load.artillery import FOLDER, Job, Outcome, node
from monitoring.load.artillery import run as run_artillery
from monitoring.load.cluster import Cluster
from monitoring.load.figures import Figures, NotAReport, read
from monitoring.load.progress import Live, seconds
from monitoring.load.verdicts import Verdict
from monitoring.prometheus_api import Unreachable
from ratelimit.rates import Rate

LATE = 25.0  # milliseconds: a generator whose own p95 is later measures itself
Variables = Mapping[str, str | int | float]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run goes to. `promised`: what its limits promise; `metrics`: where its instances tell their figures."""

    address: str
    token_secret: str = ""
    secure: bool = False
    variables: Variables = field(default_factory=dict)
    promised: Mapping[str, Rate] = field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    without: frozenset[str] = frozenset()  # samples it cannot give


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
    def late(self) -> bool:
        """Whether the generator measured itself."""
        return (self.figures.late.p95 or 0.0) > LATE

    @property
    def doubtful(self) -> bool:
        """Whether a busy machine could be all that failed: nothing but times did, or the generator was late."""
        failed = {one.name for one in self.verdicts if not one.passed}
        return self.late or failed <= {*verdicts.TIMES, verdicts.ARTILLERY}


def to_target(target: str, token_secret: str, promised: Mapping[str, Rate], changed: Variables) -> Place:
    """An installation that runs somewhere, as ws://host:port; `changed`: the profile's variables. Raises ValueError."""
    parts = urlsplit(target)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ValueError(f"{target!r} is no target: write ws://host:port or wss://host")
    variables = dict(changed) | ({"websocket": target} if parts.path.strip("/") else {})
    without = {"settled"} | (set() if "publish" in promised else {"denied"})
    secure = parts.scheme == "wss"
    return Place(parts.netloc, token_secret, secure, variables, promised, without=frozenset(without))


@contextlib.contextmanager
def own_cluster(instances: int, say: Say, lenient: int = 1) -> Iterator[Place]:
    """A cluster for this run alone."""
    say(f"starting {instances} instances and a Redis …")
    with Cluster(instances, lenient) as cluster:
        variables = {"page": cluster.page}
        metrics = tuple(cluster.metrics)
        try:
            yield Place(cluster.address, cluster.token_secret, False, variables, cluster.promised, metrics)
        except DrillFailed as error:
            raise DrillFailed(f"{error}\n{cluster.tail()}") from None


@contextlib.contextmanager
def control(say: Say) -> Iterator[Place]:
    """An echo that does nothing else: what is measured on it, the generator and the machine add."""
    [port] = free_ports(1)
    folder = new_folder("control")
    echo = Program("echo", folder, [node(), str(FOLDER / "echo.js"), str(port)])
    say("starting the control: an echo that speaks the protocol and does nothing else …")
    echo.start()
    try:
        wait_for(lambda: not echo.running or answers(f"http://127.0.0.1:{port}"), "the echo answers", 20)
        yield Place(f"127.0.0.1:{port}", without=frozenset({"denied", "recovered"}))
    finally:
        echo.stop()


def run(
    profile: str, place: Place, folder: Path, say: Say, changed: Variables | None = None, prometheus: str = ""
) -> Result:
    """Run a profile and judge it. Raises DrillFailed when there is nothing to judge."""
    objectives = slo.load(profile)
    conditions = slo.conditions(objectives, place.without)
    variables = {**place.variables, **(changed or {})}
    job = Job(profile, place.address, folder, variables, conditions, place.token_secret, place.secure)
    live = Live(profile, folder, say)
    before = server_side.buckets(place.metrics)
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
    server = _server(place, before, prometheus, time.monotonic() - began, figures)
    result = Result(figures, found, server, folder)
    _write(profile, outcome, result)
    return result


def repeated(attempts: int, once: Callable[[], Result], say: Say) -> Result:
    """Repeat what failed as a busy machine makes it fail; a slow server does so every time. The last run counts."""
    result = once()
    while not result.passed and result.doubtful and attempts > 1:
        attempts -= 1
        say("; ".join(str(one) for one in result.verdicts if not one.passed))
        say("the machine may have been too busy: once more …")
        result = once()
    return result


def new_folder(name: str) -> Path:
    """A folder of this run's own under var/load."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for number in range(1000):
        folder = ROOT / "var" / "load" / f"{name}-{stamp}{f'-{number}' if number else ''}"
        with contextlib.suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder
    raise DrillFailed("no folder can be made under var/load")


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
    judged = [{"name": one.name, "passed": one.passed, "found": one.found} for one in result.verdicts]
    own = {"profile": profile, "passed": result.passed, "verdicts": judged, "server": result.server}
    told = seconds(result.folder)
    (result.folder / "report.json").write_text(json.dumps({**outcome.report, "flotilla": own | {"seconds": told}}))
    title = f"Load: {profile}, {'passed' if result.passed else 'FAILED'}"
    shown = page.render(title, result.verdicts, result.figures, told, result.server)
    (result.folder / "report.html").write_text(shown)
