"""What is wrong with what tabs have shown: pure, from what they showed and what was committed.

A card's states are known, in the order of the commits (`Trace`): on which board it was, or that it was gone. What a tab
shows of a board's card, or that it shows none, must be such a state, and never one older than a state it showed before;
this holds also over a board that was closed and opened again.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

State = tuple[int, int]  # a card's generation and counter
Shown = tuple[str, int, int, State | None]  # tab, board, key, what it shows of it: None once it shows it no longer


@dataclass(slots=True)
class Story:
    """A card's states in the order of the commits."""

    states: list[State] = field(default_factory=list)
    boards: list[int] = field(default_factory=list)  # where it was then; 0: gone

    def place(self, state: State) -> int | None:
        """The index of a state."""
        index = bisect_left(self.states, state)
        return index if index < len(self.states) and self.states[index] == state else None

    def away(self, board: int, since: int) -> int | None:
        """The index of the first state from an index on in which it is not on a board."""
        return next((index for index in range(since, len(self.boards)) if self.boards[index] != board), None)


def stories(traces: Iterable[tuple[int, int, int, int]]) -> dict[int, Story]:
    """By key: what was committed, of rows (key, generation, counter, board) in any order."""
    found: dict[int, Story] = defaultdict(Story)
    for key, generation, counter, board in sorted(traces):
        found[key].states.append((generation, counter))
        found[key].boards.append(board)
    return found


def faults(shown: Sequence[Shown], committed: dict[int, Story]) -> list[str]:
    """What is wrong with what was shown, in the order in which each tab showed it."""
    found: list[str] = []
    at: dict[tuple[str, int, int], int] = {}  # the earliest state that a tab can be at, by board and key
    for tab, board, key, state in shown:
        story, before = committed[key], at.get((tab, board, key), 0)
        index = story.away(board, before) if state is None else story.place(state)
        where = f"{tab}, board {board}: card {key}"
        if index is None and state is None:
            found.append(f"{where} went, though it was there from {_named(story, before)} on")
        elif index is None:
            found.append(f"{where} was shown as {_as_text(state)}, which was never committed")
        elif index < before:
            found.append(f"{where} was shown as {_as_text(state)} after {_named(story, before)}")
        elif state is not None and story.boards[index] != board:
            found.append(f"{where} was shown as {_as_text(state)}, when it was on board {story.boards[index]}")
        else:
            at[tab, board, key] = index
    return found


def _as_text(state: State | None) -> str:
    return "gone" if state is None else f"{state[0]}.{state[1]}"


def _named(story: Story, index: int) -> str:
    board = story.boards[index]
    return f"{_as_text(story.states[index])} on board {board}" if board else f"{_as_text(story.states[index])}, deleted"


def differences(rows: dict[str, object], shown: dict[str, object]) -> str:
    """How what is shown differs from the rows; "" when it does not."""
    missing, extra = rows.keys() - shown.keys(), shown.keys() - rows.keys()
    other = {key for key in rows.keys() & shown.keys() if rows[key] != shown[key]}
    parts = (("missing", missing), ("not there any more", extra), ("different", other))
    return "; ".join(f"{what}: {', '.join(sorted(keys)[:8])} ({len(keys)})" for what, keys in parts if keys)
