"""The subscriptions of a channel in one process that see it alike.

A publication is encoded once for each encoding that is wanted, and framed once for each format.
"""

from flotilla.realtime.engine.subscription import Subscription
from flotilla.realtime.engine.view import View
from flotilla.realtime.protocol.frames import Outlet


class Group:
    """Those that follow the channel, with where each one's frames go."""

    __slots__ = ("sockets", "unlooked", "view")

    def __init__(self, view: View) -> None:
        self.view = view
        self.unlooked = 0  # bytes written to each since it was looked how much waits at their sockets
        self.sockets: dict[Subscription, Outlet] = {}
