"""The reaper's check, with the scripts' answers given: when it buries, and when it must not."""

from typing import Any

import pytest

from flotilla.presence.decisions import Continuity
from flotilla.presence.reaper import Reaped, Reaper

pytestmark = pytest.mark.asyncio


class Answers:
    """Stands for Leases: says who is dead, notes who was buried, takes `delay` seconds of the clock for an answer."""

    def __init__(self) -> None:
        self.now = 100.0
        self.delay = 0.01
        self.held = True
        self.gone = {"x": False}
        self.buried: list[str] = []

    async def dead(self, own: str) -> tuple[bool, dict[str, bool]]:
        self.now += self.delay
        return self.held, self.gone

    async def bury(self, own: str, target: str, claim: float) -> bool:
        self.buried.append(target)
        return True


def untold(reaped: Reaped) -> None:
    raise AssertionError("nothing was reaped")


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def reaper(answers: Answers) -> Reaper:
    continuity = Continuity(6.0, 2.0)
    for sent in (92.0, 94.0, 96.0, 98.0, 100.0):
        continuity.renewed(sent, sent)
    leases: Any = answers
    none: Any = None
    clock = lambda: answers.now  # noqa: E731
    return Reaper(leases, none, none, continuity, tell=untold, note=bytes, claim=2.0, clock=clock)


async def test_dead_is_who_was_dead_twice_in_a_row(reaper: Reaper, answers: Answers) -> None:
    await reaper.check("own")
    answers.gone = {"y": False}
    await reaper.check("own")
    assert answers.buried == []
    answers.gone = {"x": False, "y": False}
    await reaper.check("own")
    assert answers.buried == ["y"]


async def test_whose_lease_was_ended_is_dead_at_once(reaper: Reaper, answers: Answers) -> None:
    answers.gone = {"x": False, "seen": True}
    await reaper.check("own")
    assert answers.buried == ["seen"]


async def test_whose_lease_was_ended_is_dead_for_a_newborn_too(reaper: Reaper, answers: Answers) -> None:
    reaper._continuity.broken()
    answers.gone = {"silent": False, "seen": True}
    for _ in range(3):
        await reaper.check("own")
    assert answers.buried == ["seen"]


async def test_nobody_is_buried_by_one_without_a_lease(reaper: Reaper, answers: Answers) -> None:
    answers.held, answers.gone = False, {"silent": False, "seen": True}
    for _ in range(3):
        await reaper.check("own")
    assert answers.buried == []


async def test_failed_check_between_begins_anew(reaper: Reaper, answers: Answers) -> None:
    await reaper.check("own")
    reaper.distrust()
    await reaper.check("own")
    assert answers.buried == []


@pytest.mark.parametrize("trouble", ["slow", "lease gone", "renewal overdue"])
async def test_untrusted_answer_buries_nobody_and_begins_anew(reaper: Reaper, answers: Answers, trouble: str) -> None:
    await reaper.check("own")
    if trouble == "slow":
        answers.delay = 1.0
    elif trouble == "lease gone":
        answers.held = False
    else:
        answers.now = 103.5
    await reaper.check("own")
    answers.delay, answers.held, answers.now = 0.01, True, 101.0
    await reaper.check("own")
    assert answers.buried == []


async def test_nobody_buries_itself(reaper: Reaper, answers: Answers) -> None:
    answers.gone = {"own": True}
    await reaper.check("own")
    await reaper.check("own")
    assert answers.buried == []
