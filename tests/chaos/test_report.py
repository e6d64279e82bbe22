"""When a campaign counts, and that a seed repeats it."""

from itertools import islice

import pytest

from tests.chaos import report
from tests.chaos.checker import Violation
from tests.chaos.faults import CLIENTS, FAULTS, SERVERS, schedule
from tests.chaos.log import Acknowledged, Delivered, Event, FaultBegan


def enough(minutes: float = 1.0, missing: str = "") -> list[Event]:
    """A log with as many publications, deliveries and faults as a run of that length needs."""
    events: list[Event] = []
    for fault in FAULTS:
        times = report.least_faults(minutes) - (fault.name == missing)
        events += [FaultBegan(1.0, fault.name, fault.lane, fault.lossless, fault.deafens) for _ in range(times)]
    events += [Acknowledged(2.0, "room:1", n, "e", n, 1.9) for n in range(int(report.PUBLICATIONS * minutes))]
    events += [Delivered(2.0, 1, "room:1", n, n) for n in range(int(report.DELIVERIES * minutes))]
    return events


def test_a_run_without_a_violation_counts() -> None:
    assert report.show(enough(), [], 1.0, 60.0) == 0


def test_a_violation_is_shown_and_is_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    found = Violation("gap", 2.0, "somebody missed something")
    assert report.show(enough(missing="redis hung"), [found], 1.0, 60.0) == 1
    assert "somebody missed something" in capsys.readouterr().out


@pytest.mark.parametrize("name", [fault.name for fault in FAULTS])
def test_a_run_in_which_a_fault_is_missing_is_not_measured(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.show(enough(missing=name), [], 1.0, 60.0) == 2
    assert f"NOT MEASURED: {name} 0 times of 1" in capsys.readouterr().out


@pytest.mark.parametrize("kind", [Acknowledged, Delivered])
def test_a_run_with_too_little_to_look_at_is_not_measured(kind: type[Event]) -> None:
    events = enough()
    events.remove(next(event for event in events if isinstance(event, kind)))
    assert report.show(events, [], 1.0, 60.0) == 2


def test_five_minutes_need_each_fault_three_times() -> None:
    assert [report.least_faults(minutes) for minutes in (1, 3, 5, 60)] == [1, 1, 3, 36]


@pytest.mark.parametrize("lane", [SERVERS, CLIENTS])
def test_a_seed_repeats_the_faults_and_another_does_not(lane: str) -> None:
    first, again, other = (list(islice(schedule(seed, lane, 2, 2), 50)) for seed in (7, 7, 8))
    assert first == again != other


@pytest.mark.parametrize("lane", [SERVERS, CLIENTS])
def test_every_round_has_each_fault_of_its_lane_once(lane: str) -> None:
    names = [fault.name for fault in FAULTS if fault.lane == lane]
    rounds = [fault.name for fault, _ in islice(schedule(1, lane, 2, 1), 3 * len(names))]
    for start in range(0, len(rounds), len(names)):
        assert sorted(rounds[start : start + len(names)]) == sorted(names)
