"""The second reader: what a report must say for each line of the SLO, and that a lack of data never passes."""

import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from flotilla.ops.load import figures, slo, verdicts
from flotilla.ops.load.admitted import Held
from flotilla.ops.load.artillery import PROFILES
from flotilla.ratelimit.algorithms.rates import parse_rate
from tests.ops.load.reports import report, times

RATE = parse_rate("5/s burst=10")
HELD = [Held("publish", RATE, keys=3, admitted=50, worst=0)]


def failed(found: dict[str, Any], held: list[Held] = HELD, profile: str = "smoke") -> list[str]:
    """The names of the lines that failed."""
    return [one.name for one in verdicts.judge(slo.load(profile), figures.read(found), held) if not one.passed]


def test_a_good_run_passes() -> None:
    assert failed(report()) == []


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (report(delivery=times(p95=100.0)), "p95 publish→receive"),
        (report(page=times(500, 160.0)), "p95 HTTP"),
        (report({"vusers.completed": 99}), "errors"),  # one that neither failed nor completed counts
        (report({"flotilla.refused": 10}), "errors"),
        (report({"flotilla.unserved": 5}), "errors"),
        (report({"flotilla.lost": 1}), "lost"),
        (report({"flotilla.doubled": 1}), "doubled"),
        (report({"flotilla.misordered": 1}), "misordered"),
        (report({"flotilla.settled": 3}), "samples settled"),
        (report(delivery=times(1999)), "samples deliveries"),
        (report(page=times(199)), "samples pages"),
    ],
)
def test_each_line_fails_by_itself(found: dict[str, Any], line: str) -> None:
    assert failed(found) == [line]


@pytest.mark.parametrize(("name", "line"), [("burst_delivery", 2), ("burst_page", 3)])
def test_times_while_the_flood_is_on_hold_by_themselves(name: str, line: int) -> None:
    """A quiet rest of the run must not hide a slow burst, and a burst without samples is none."""
    flooded = report({"flotilla.denied.111": 5000})
    summaries = flooded["aggregate"]["summaries"]
    summaries |= {"flotilla.burst_delivery": times(2000), "flotilla.burst_page": times(200)}
    assert failed(flooded, profile="hard") == []
    summaries[f"flotilla.{name}"] = times(2000, 120.0)
    assert failed(flooded, profile="hard") == [verdicts.TIMES[line]]
    summaries[f"flotilla.{name}"] = times(0)
    assert verdicts.TIMES[line] in failed(flooded, profile="hard")


def test_errors_below_one_percent_of_their_kind_pass() -> None:
    assert failed(report({"flotilla.refused": 9, "flotilla.unserved": 4})) == []


def test_denials_that_were_asked_for_are_no_errors() -> None:
    found = report({"flotilla.denied.111": 5000, "flotilla.denied.429": 50, "flotilla.denied.3013": 8})
    assert failed(found) == []
    assert figures.read(found).denied == {"111": 5000, "429": 50, "3013": 8}


def test_an_overshoot_fails_and_so_does_a_limit_that_nothing_went_through() -> None:
    assert failed(report(), [Held("publish", RATE, 3, 50, worst=1)]) == ["overshoot publish"]
    assert failed(report(), [Held("publish", RATE, 0, 0, worst=0)]) == ["overshoot publish"]


def test_a_run_without_data_fails_everywhere_it_can() -> None:
    empty = {"aggregate": {"counters": {"vusers.created": 0}, "summaries": {}}}
    assert {"p95 publish→receive", "p95 HTTP", "errors", "samples deliveries"} <= set(failed(empty, []))


def test_artillery_s_own_checks_count_and_none_at_all_is_a_failure() -> None:
    assert verdicts.artillery([(True, "a < 1")], 0).passed
    assert not verdicts.artillery([(True, "a < 1"), (False, "b < 1")], 1).passed
    assert not verdicts.artillery([], 0).passed
    assert not verdicts.artillery([(True, "a < 1")], 1).passed


@pytest.mark.parametrize(
    "found",
    [
        {},
        [],
        {"aggregate": {}},
        {"aggregate": {"counters": {}, "summaries": {}}},
        report({"vusers.created": "many"}),  # type: ignore[dict-item]
        report(delivery={"count": 5}),
        report(page={"count": 5, "p50": "x", "p95": 1, "p99": 1}),
    ],
)
def test_what_is_no_report_is_refused(found: Any) -> None:
    with pytest.raises(figures.NotAReport):
        figures.read(found)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_has_its_samples_and_artillery_the_same_bounds(profile: str) -> None:
    found = slo.load(profile)
    assert all(least > 0 for least in found.samples.values())
    expressions = [condition["expression"] for condition in slo.conditions(found)]
    assert f"flotilla.delivery.p95 < {found.delivery_p95_ms:g}" in expressions
    assert f"flotilla.delivery.count >= {found.samples['deliveries']}" in expressions
    assert math.isclose(found.errors, 0.01)


def test_no_checked_metric_s_name_is_part_of_another_s() -> None:
    """Artillery replaces names as text: a name within another would be torn apart."""
    numbers = [field.name for field in fields(figures.Figures)]
    counters = [f"flotilla.{name}" for name in numbers if name in figures.COUNTERS]
    histograms = [f"flotilla.{name}.p95" for name in figures.HISTOGRAMS]
    names = [*counters, *histograms, "flotilla.denied.111", "flotilla.delivery.count", "vusers.failed"]
    assert not [(a, b) for a in names for b in names if a != b and a in b]


def test_a_fault_in_the_slo_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "slo.toml"
    path.write_text("[samples.smoke]\nsmiles = 3\n")
    with pytest.raises(ValueError, match="smiles"):
        slo.load("smoke", path)
    with pytest.raises(ValueError, match=r"samples\.soft"):
        slo.load("soft", path)
    path.write_text("[objectives]\nerrors = 1\n[samples.smoke]\npages = 3\n")
    with pytest.raises(ValueError, match="not complete"):
        slo.load("smoke", path)
