"""What the outbox has of live models, in short."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from flotilla.realtime.live import registry
from flotilla.realtime.live.rendering import rendered
from tests.realtime.outbox.databases import rows


class Told(NamedTuple):
    """One row of the outbox."""

    channel: str
    operation: str
    key: str
    data: Any


class Desk:
    """A database with the tables of `desk`, and what was written to its outbox."""

    def __init__(self, alias: str) -> None:
        self.alias = alias

    def told(self, channel: str | None = None, live: str = "desk.TicketLive") -> list[Told]:
        """What was told since the last time, of one live model."""
        found = rows(self.alias, channel)
        told = [
            Told(row.channel, row.operation, row.key, None if row.body is None else json.loads(bytes(row.body)))
            for row in found
            if row.live == live
        ]
        self.forget()
        return told

    def forget(self) -> None:
        from flotilla.realtime.models import OutboxRow

        OutboxRow.objects.using(self.alias).all().delete()

    def state(self, channel: str) -> dict[str, Any]:
        """What a channel shows: keys and data."""
        return {
            one.key: json.loads(one.data)
            for live, found in registry.rows_of(channel, self.alias)
            for one in rendered(live, found)
        }


Show = Callable[..., Any]
