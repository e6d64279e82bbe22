"""What the Redises of a list say of the layout that they belong to, and whether a process may use them. Pure.

Each has a mark with the ids of all (`lua/layout.lua`). Where all that answer have the marks of one layout, in which
they stand as in the process's list, it joins that. Where nobody uses what the marks say, or there are none, it begins
another.
"""

import secrets
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from flotilla.store.errors import StoreRefused, StoreUnavailable, reading

CODE = "LAYOUT"
MEND = "docs/SCALE_OUT.md#more-or-fewer-redises"
ENDING, HELD, OPEN = "ending", "held", "open"

Ids = tuple[str, ...]
"""Of all Redises of a layout, in order."""


class Unsettled(Exception):
    """Processes that come at the same time have not agreed yet."""


def wrong(why: str) -> StoreRefused:
    """The error for a process whose REDIS_URL is not that of the cluster."""
    return StoreRefused(CODE, f"{CODE} {why} ({MEND})")


class Mark(NamedTuple):
    """What a Redis says: whether this process may use it, the ids of all of the layout, which of them it is ("" where
    it has no mark), how many other processes use it, and the state that `reshard` has brought it to ("": none)."""

    may: bool
    ids: Ids
    number: str
    others: int
    state: str

    @classmethod
    def read(cls, answer: Sequence[Any]) -> "Mark":
        """The script's answer."""
        with reading("a question about the layout"):
            may, ids, index, others, state = answer
            names = tuple(ids.decode().split(",")) if ids else ()
            return cls(bool(may), names, index.decode(), int(others), state.decode())

    def stands(self, index: int, of: int) -> bool:
        """Whether it is the mark of a layout in which this Redis has that place, among so many."""
        return self.number == str(index) and len(self.ids) == of


def joined(found: Sequence[Mark | StoreUnavailable]) -> Ids | None:
    """The layout that a process joins; None: it begins one. `found`: what each Redis of its list says, or why nothing.

    Raises StoreRefused with the code LAYOUT where it may not come, Unsettled where that may be otherwise in a moment,
    and StoreUnavailable where a Redis that is away would have to be asked.
    """
    marks = {index: mark for index, mark in enumerate(found) if isinstance(mark, Mark)}
    for index, mark in marks.items():
        _refuse_resharded(index, len(found), mark)
    ids = {mark.ids for mark in marks.values()}
    if len(ids) == 1 and all(mark.stands(index, len(found)) for index, mark in marks.items()):
        return ids.pop()
    for one in found:
        if isinstance(one, StoreUnavailable):
            raise one
    for index, mark in marks.items():
        if mark.others:
            _refuse_used(index, len(found), mark)
    if not _is_open(marks.values()) and any(mark.ids for mark in marks.values()) and marks[0].number != "0":
        raise wrong(
            "the first Redis of REDIS_URL is not the one that was first, which has what belongs to the whole cluster: "
            "`manage.py reshard` takes that along"
        )
    return None


def deserted(marks: Sequence[Mark]) -> bool:
    """Whether another layout is left behind where one is begun, and `reshard` has not ended it."""
    return not _is_open(marks) and any(mark.ids and not mark.stands(at, len(marks)) for at, mark in enumerate(marks))


def begun(marks: Sequence[Mark]) -> Ids:
    """The ids for a layout that is begun. A Redis keeps its own."""
    own = [mark.ids[int(mark.number)] if mark.ids else secrets.token_hex(6) for mark in marks]
    return tuple(name if name not in own[:at] else secrets.token_hex(6) for at, name in enumerate(own))


def _is_open(marks: Iterable[Mark]) -> bool:
    return any(mark.state == OPEN for mark in marks)


def _refuse_resharded(index: int, of: int, mark: Mark) -> None:
    if mark.state in (ENDING, HELD):
        raise wrong(
            f"`manage.py reshard` is at work on Redis {index} or has taken it out: REDIS_URL may be the old one"
        )
    if mark.state == OPEN and mark.stands(index, of):
        raise wrong("`manage.py reshard` has ended this layout: REDIS_URL is the old one")


def _refuse_used(index: int, of: int, mark: Mark) -> None:
    if mark.stands(index, of):
        raise Unsettled(
            f"another Redis of REDIS_URL is not the one that {mark.others} processes use with Redis {index}, or it has "
            "lost its data and they have not said so yet"
        )
    raise wrong(
        f"{mark.others} processes use Redis {index} of these {of} as number {mark.number} of {len(mark.ids)}: "
        "REDIS_URL must be the same everywhere; this one waits until they have ended"
    )
