"""What is wrong, and with whom: measured by every instance for some seconds, and put together. It blocks.

`seconds` is how long is measured, `within` how many seconds more the answers may take. All raise StoreUnavailable.
"""

import heapq
from dataclasses import dataclass, field
from typing import Any

from flotilla.presence.leases import alive_sync, left_sync
from flotilla.realtime.api.targets import user_or_all
from flotilla.realtime.node.control import ASK_WITHIN, Command, Control
from flotilla.realtime.node.operations.affected import Affected
from flotilla.realtime.node.operations.deliveries import Deliveries
from flotilla.realtime.node.operations.hot import Hot
from flotilla.realtime.node.operations.stakes import Stakes
from flotilla.realtime.node.operations.top import FIGURES, Top
from flotilla.realtime.node.operations.vitals import AskVitals
from flotilla.store import get_store


@dataclass(slots=True)
class Asked:
    """The instances that live, as each last said of itself, and the answers of those that gave one, by incarnation."""

    living: dict[str, dict[str, Any]]
    answers: dict[str, Any]
    left: dict[str, float] = field(default_factory=dict)  # seconds of the leases

    @property
    def silent(self) -> list[dict[str, Any]]:
        """Those that live and have not answered."""
        return [about for name, about in self.living.items() if name not in self.answers]

    @property
    def counts(self) -> dict[str, int]:
        """How many answered, of how many."""
        return {"answered": len(self.answers), "instances": len(self.living.keys() | self.answers.keys())}


def top(by: str, per: str, *, limit: int, seconds: float, within: float) -> tuple[list[dict[str, Any]], Asked]:
    """The first clients by messages, bytes, errors or waiting bytes, counted by connection, user or address."""
    asked = _ask(Top(by=by, per=per, seconds=seconds, limit=max(limit, 100)), seconds + within)
    if per == "connection":
        rows = [row for answer in asked.answers.values() for row in answer]
    else:
        rows = _summed(asked, per, ("connections", *FIGURES))
    return _first(rows, by, limit), asked


def hot_channels(by: str, *, limit: int, seconds: float, within: float) -> tuple[list[dict[str, Any]], Asked]:
    """The first channels by publications, deliveries or outgoing bytes a second. Every instance with subscribers gets
    each publication once, so those are not added up."""
    asked = _ask(Hot(by=by, seconds=seconds, limit=max(limit, 100)), seconds + within)
    return _first(
        _summed(asked, "channel", ("subscribers", "deliveries", "outgoing"), "publications"), by, limit
    ), asked


def vitals(*, seconds: float, within: float) -> Asked:
    """How each instance is."""
    asked = _ask(AskVitals(seconds=seconds), seconds + within)
    asked.left = left_sync(get_store())
    return asked


def deliveries(user: Any = None, *, client: str = "", channel: str = "", limit: int, within: float) -> Asked:
    """How far a user's connections have been given each of their channels."""
    command = Deliveries(user=user_or_all(user), client=client, channel=channel, limit=limit)
    return _ask(command, within)


def stakes(within: float = ASK_WITHIN) -> Asked:
    """What depends on each instance."""
    return _ask(Stakes(), within)


def affected(*, shard: int = -1, seconds: float, within: float) -> Asked:
    """Whom a trouble hurts, at each instance."""
    return _ask(Affected(shard=shard, seconds=seconds), seconds + within)


def _ask(command: Command, within: float) -> Asked:
    store = get_store()
    living = {about["incarnation"]: about for about in alive_sync(store)}
    return Asked(living, Control(store).ask_sync(command, list(living), within))


def _summed(asked: Asked, key: str, added: tuple[str, ...], highest: str = "") -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for row in (row for answer in asked.answers.values() for row in answer):
        one = found.setdefault(row[key], row)
        if one is row:
            continue
        for name in added:
            one[name] += row[name]
        if highest:
            one[highest] = max(one[highest], row[highest])
    return list(found.values())


def _first(rows: list[dict[str, Any]], by: str, limit: int) -> list[dict[str, Any]]:
    return heapq.nlargest(limit, rows, key=lambda row: float(row[by]))
