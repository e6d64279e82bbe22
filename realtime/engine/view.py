"""How a subscription sees its channel: what its publications look like, and which it is given."""

from enum import IntEnum
from typing import NamedTuple

from flotilla.realtime.protocol.filters import Filter
from flotilla.realtime.protocol.formats import WEBSOCKET_JSON, Format


class Deltas(IntEnum):
    """Whether a subscription is sent deltas, and whether it has the publication that the next one is made against."""

    OFF = 0
    FIRST = 1  # the next publication is sent whole
    NEXT = 2


class View(NamedTuple):
    """Subscriptions of a channel with equal views are sent the same bytes."""

    format: Format = WEBSOCKET_JSON
    deltas: Deltas = Deltas.OFF
    filter: Filter | None = None

    def with_deltas(self, deltas: Deltas) -> "View":
        """The same, further on; as it is where there are no deltas."""
        return self._replace(deltas=deltas) if self.deltas else self


PLAIN = View()
