"""The soak in short: it does its work without an unhandled error, and finds what leaks on purpose, which is what its
verdict is for. That nothing grows takes half an hour to say (`make soak`)."""

import shutil
from pathlib import Path

import pytest

from tests.soak.churn import Rates
from tests.soak.run import Seen, report, soak
from tests.soak.series import judge
from tests.soak.slopes import Verdict

RATES = Rates(connections=20, connects=2.0, turns=2.0, commands=2.0, publications=8.0, requests=2.0, hostilities=0.5)
LEAKS = {"files": 20, "tasks": 100, "keys": 200, "memory": 20_000}  # a second
SHOWN_BY = {"open files": 3600, "tasks": 18_000, "allocations": 3_600_000, "leaked": 72_000}  # an hour, at least
MINUTES = 4.0  # at most, on a busy machine
EVERY = 0.7  # seconds
LEAST = 30  # samples


def found(seen: Seen) -> set[str]:
    """What leaks, by the verdicts so far; calls go to either instance, or to both."""
    grows = {one.name: one.slope for one in judge(seen.times, seen.samples) if one.verdict is Verdict.GROWS}
    return {
        what
        for what, least in SHOWN_BY.items()
        if any(name.endswith(f": {what}") and rise.low > least for name, rise in grows.items())
    }


@pytest.mark.timeout(400)
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # sockets cut at the end die with the loop
@pytest.mark.skipif(shutil.which("redis-server") is None, reason="no redis-server on the PATH")
def test_what_leaks_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def enough(seen: Seen) -> bool:
        return len(seen.samples) > LEAST and found(seen) == set(SHOWN_BY)

    seen = soak(tmp_path, RATES, MINUTES, LEAKS, EVERY, enough)
    judged = judge(seen.times, seen.samples)
    assert report(seen, judged) == 1
    said = capsys.readouterr().out
    assert found(seen) == set(SHOWN_BY), said
    assert "GROWS: keys: leaked by " in said
    assert not seen.died
    assert seen.faults == []
    assert all(seen.done[what] for what in ("connects", "recoveries", "publications", "requests", "hostilities"))
    assert seen.events, "webhooks told nothing"
