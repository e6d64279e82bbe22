"""Two reports: what is a regression, and what is noise."""

import pytest

from flotilla.ops.load.comparison import compare
from tests.ops.load.reports import report, times


def worse(before: object, after: object) -> list[str]:
    return [change.name for change in compare(before, after) if change.worse]  # type: ignore[arg-type]


def test_the_same_run_is_not_worse() -> None:
    assert worse(report(), report()) == []


def test_ten_milliseconds_are_noise_and_more_is_not() -> None:
    assert worse(report(), report(delivery=times(p95=29.9))) == []
    assert worse(report(), report(delivery=times(p95=30.1))) == ["p95 publish→receive"]


def test_a_run_that_was_itself_uneven_forgives_more() -> None:
    uneven = report(periods=(10.0, 20.0, 30.0, 20.0, 40.0))
    assert worse(uneven, report(delivery=times(p95=45.0))) == []
    assert worse(uneven, report(delivery=times(p95=51.0))) == ["p95 publish→receive"]


@pytest.mark.parametrize("name", ["lost", "doubled", "misordered"])
def test_what_must_not_be_has_no_noise(name: str) -> None:
    assert worse(report(), report({f"flotilla.{name}": 1})) == [name]
    assert worse(report({f"flotilla.{name}": 2}), report({f"flotilla.{name}": 1})) == []


def test_more_errors_and_no_figures_at_all_are_worse() -> None:
    assert worse(report(), report({"flotilla.refused": 6})) == ["errors commands"]
    assert worse(report(), report(delivery={"count": 0})) == ["p95 publish→receive"]
