"""Looking at the connections of the whole cluster, a page at a time: what the admin shows.

Every instance gives its own page after the cursor; the pages are merged and cut, so nothing holds more than
`limit` connections of each instance, however many there are.
"""

import heapq
from dataclasses import dataclass
from typing import Any

from presence.leases import alive_sync
from realtime.access.tokens import user_id
from realtime.engine.control import ASK_WITHIN, Command, Control
from store import get_store


@dataclass(frozen=True, slots=True)
class ConnectionPage:
    """Connections in the order of their ids, `next` as the cursor of the page that follows ("": none), and how many
    of the living instances have answered. `total` counts all that fit."""

    rows: list[dict[str, Any]]
    total: int
    next: str
    answered: int
    instances: int

    @property
    def complete(self) -> bool:
        """Whether every living instance has answered in time."""
        return self.answered >= self.instances


def connections(
    user: Any = None,
    *,
    channel: str = "",
    client: str = "",
    text: str = "",
    after: str = "",
    limit: int = 50,
    within: float = ASK_WITHIN,
) -> ConnectionPage:
    """The connections of a user, in a channel, or all, where `text` begins their user, address or id, or is in the
    client's name. Raises StoreUnavailable."""
    store = get_store()
    living = [about["incarnation"] for about in alive_sync(store)]
    whom = None if user is None else user_id(user)
    command = Command("connections", user=whom, channel=channel, client=client, text=text, after=after, limit=limit + 1)
    answers = Control(store).ask_sync(command, living, within)
    pages = [answer["rows"] for answer in answers.values()]
    found = list(heapq.merge(*pages, key=lambda row: row["client"]))
    rows = found[:limit]
    following = rows[-1]["client"] if len(found) > limit else ""
    total = sum(answer["total"] for answer in answers.values())
    return ConnectionPage(rows, total, following, len(answers), len(set(living) | answers.keys()))
