"""The verdict on what tabs have shown finds each fault there can be, and none where there is none."""

import pytest

from tests.chaos.live.verdict import State, differences, faults, stories

# Card 7: made on board 1, changed, moved to board 2, moved back, deleted, and made again on board 1.
COMMITTED = [(7, 1, 1, 1), (7, 1, 3, 2), (7, 1, 2, 1), (7, 1, 4, 1), (7, 1, 5, 0), (7, 2, 1, 1)]


def judged(*states: State | None, board: int = 1) -> list[str]:
    return faults([("tab", board, 7, state) for state in states], stories(COMMITTED))


@pytest.mark.parametrize(
    "states",
    [
        ((1, 1), (1, 2), None, (1, 4), None, (2, 1)),
        ((1, 1), (1, 4), (2, 1)),
        (None, (1, 4)),
        ((1, 2), None, (2, 1)),
        ((1, 2), (1, 2)),
    ],
)
def test_states_in_the_order_of_the_commits_are_right(states: tuple[State | None, ...]) -> None:
    assert judged(*states) == []


@pytest.mark.parametrize(
    ("states", "fault"),
    [
        (((1, 2), (1, 1)), "was shown as 1.1 after 1.2 on board 1"),
        (((1, 2), None, (1, 2)), "was shown as 1.2 after 1.3 on board 2"),
        (((1, 4), None, None), None),
        (((1, 4), None, (1, 4)), "was shown as 1.4 after 1.5, deleted"),
        (((2, 1), None), "went, though it was there from 2.1 on board 1 on"),
        (((1, 9),), "was shown as 1.9, which was never committed"),
        (((1, 3),), "was shown as 1.3, when it was on board 2"),
    ],
)
def test_what_is_wrong_is_told(states: tuple[State | None, ...], fault: str | None) -> None:
    assert judged(*states) == ([] if fault is None else [f"tab, board 1: card 7 {fault}"])


def test_each_tab_and_board_is_judged_by_itself() -> None:
    shown = [("one", 1, 7, (1, 4)), ("other", 1, 7, (1, 1)), ("one", 2, 7, (1, 3))]
    assert faults(shown, stories(COMMITTED)) == []


def test_differences_are_named_by_their_keys() -> None:
    assert differences({"1": "a", "2": "b"}, {"1": "a", "2": "b"}) == ""
    said = differences({"1": "a", "2": "b"}, {"2": "c", "3": "d"})
    assert said == "missing: 1 (1); not there any more: 3 (1); different: 2 (1)"
