"""Keeps a WebSocket of any application alive, as Daphne does: a ping every so often, and a client that stays silent for
longer than it may is given up.

The pings also keep proxies from closing a connection that is merely quiet. Connections that were adopted have pings of
their own protocol and none of these.
"""

import asyncio
import logging
from typing import Protocol

logger = logging.getLogger("flotilla.realtime.connection")


class Pinged(Protocol):
    """What is kept alive."""

    @property
    def heard(self) -> int:
        """A number that is another one whenever something was read."""

    def ping(self) -> None:
        """Send a ping, if something can be sent."""

    def give_up(self) -> None:
        """Cut the connection off."""


class Keepalive:
    """One connection's, from now until `stop`. `every` and `patience` are seconds: a client that has said nothing for
    both together is given up."""

    __slots__ = ("_connection", "_every", "_heard", "_patience", "_since", "_timer")

    def __init__(self, connection: Pinged, every: float, patience: float) -> None:
        self._connection = connection
        self._every = every
        self._patience = patience
        self._heard = connection.heard
        loop = asyncio.get_running_loop()
        self._since = loop.time()  # when it was heard last, as far as was looked
        self._timer = loop.call_later(every, self._look)

    def stop(self) -> None:
        """The connection is over."""
        self._timer.cancel()

    def _look(self) -> None:
        loop, connection = asyncio.get_running_loop(), self._connection
        now, heard = loop.time(), connection.heard
        if heard != self._heard:
            self._heard, self._since = heard, now
        elif now - self._since >= self._every + self._patience:
            logger.info("a client has answered no ping for %.0f s", now - self._since)
            connection.give_up()
            return
        connection.ping()
        self._timer = loop.call_later(self._every, self._look)
