"""The verdict of the campaign: each kind of harm is seen, and what cannot be measured is not called late."""

from dataclasses import replace

import pytest

from tests.hostile.verdict import Seen, judge, status, table

CALM = {"count": 100, "p50": 1.0, "p99": 5.0, "late": 8.0, "max": 10.0, "other": 20.0}
WELL = Seen(
    "pings",
    "Pings",
    8.0,
    publications=CALM,
    pages=CALM,
    newcomers=CALM,
    memory=(90.0, 100.0, 95.0),
    connections=(3, 3),
    threads=(10, 12),
    attackers={"statuses": {"200": 5, "400": 3, "501": 1}},
)


def test_nothing_noticed_is_no_fault() -> None:
    verdict = judge(WELL)
    assert verdict.measured
    assert verdict.faults == []
    assert status([WELL]) == 0


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"publications": CALM | {"late": 251.0}}, "publication"),
        ({"pages": CALM | {"late": 900.0}}, "page"),
        ({"newcomers": CALM | {"late": 8600.0}}, "newcomer"),
        ({"witness_faults": ["the witness was closed: 3011"]}, "3011"),
        ({"memory": (90.0, 131.0, 92.0)}, "grew by 41"),
        ({"memory": (90.0, 120.0, 120.0)}, "not come back"),
        ({"connections": (3, 400)}, "connections"),
        ({"threads": (10, 160)}, "threads"),
        ({"attackers": {"statuses": {"500": 2}}}, "500"),
        ({"attackers": {"statuses": {"503": 2}}}, "503"),
        ({"attackers": {"statuses": {}, "faults": ["it did not arrive whole"]}}, "whole"),
        ({"unhandled": ["Traceback"]}, "unhandled"),
        ({"died": True}, "died"),
    ],
)
def test_each_kind_of_harm_is_a_fault(change: dict[str, object], word: str) -> None:
    seen = replace(WELL, **change)  # type: ignore[arg-type]
    (fault,) = judge(seen).faults
    assert word in fault
    assert status([WELL, seen]) == 1
    assert fault in table([seen])


def test_what_may_be_unavailable_may_say_so() -> None:
    assert judge(replace(WELL, unavailable=True, attackers={"statuses": {"503": 2}})).faults == []


@pytest.mark.parametrize("change", [{"held_up": 0.7}, {"withheld": 0.8}, {"publications": {}}])
def test_a_machine_without_time_measures_no_lateness(change: dict[str, object]) -> None:
    seen = replace(WELL, pages=CALM | {"late": 900.0}, **change)  # type: ignore[arg-type]
    assert judge(seen).faults == []
    assert not judge(seen).measured
    assert status([seen]) == 2
    assert "NOT MEASURED" in table([seen])


def test_harm_is_seen_on_any_machine() -> None:
    seen = replace(WELL, held_up=0.9, memory=(90.0, 300.0, 300.0))
    assert len(judge(seen).faults) == 2
    assert status([seen]) == 1
