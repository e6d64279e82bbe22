"""Connections that wait for a request's head, new ones and those idle between two requests: how many there may be.

They are the cheapest thing a stranger can have, so they are bounded, for each address and in all. When there is one too
many the oldest is closed: of the address that has too many, or of the one that has most. A request in progress and a
WebSocket do not count. A trusted proxy's address says nothing about who is behind it: only the bound for all counts
there, as for a Unix socket. Nothing here does I/O; every call costs the same however many wait.
"""

from collections.abc import Callable
from typing import Protocol

from flotilla.ratelimit.http.requests import is_trusted_proxy
from flotilla.realtime.server.conf import get_server_config
from flotilla.realtime.server.networks import bounds_of, networks_of
from flotilla.realtime.server.open_files import affordable
from flotilla.realtime.server.shares import Path, Shares


class WaitingConnection(Protocol):
    """A connection that waits for a request's head."""

    def give_up(self) -> None:
        """Close it now: its place is wanted."""


class WaitingConnections:
    """Those of one server. `trusted` says whether an address is a trusted proxy's."""

    def __init__(self, per_address: int, in_all: int, trusted: Callable[[str], bool]) -> None:
        self.closed = 0  # because their place was wanted
        self._bounds = bounds_of(per_address)
        self._in_all = in_all
        self._trusted = trusted
        self._paths: dict[WaitingConnection, Path] = {}
        self._shares: Shares[WaitingConnection] = Shares()

    @property
    def size(self) -> int:
        """How many wait. Any thread may ask."""
        return self._shares.size

    def add(self, connection: WaitingConnection, address: str) -> None:
        """A connection is new, or idle between two requests: it waits from now on. Closes the oldest one of the address
        (not of a trusted proxy's), or of all, when there are too many. Calling it again moves it to the end."""
        self.remove(connection)
        path = self._paths[connection] = self._path(connection, address)
        self._shares.add(path, connection)
        for share, most in zip(reversed(list(self._shares.along(path))), self._bounds, strict=False):
            if share.size > most:
                self._close_oldest(share)
        if self._shares.size > self._in_all:
            self._close_oldest(self._shares)

    def remove(self, connection: WaitingConnection) -> None:
        """It has said what it wants (a head was read), or is gone. Doing so twice does nothing."""
        path = self._paths.pop(connection, None)
        if path is not None:
            self._shares.remove(path, connection)

    def _path(self, connection: WaitingConnection, address: str) -> Path:
        """Where it counts; behind a trusted proxy each counts for itself, until its head says who it is."""
        return (connection,) if not address or self._trusted(address) else networks_of(address)

    def _close_oldest(self, share: Shares[WaitingConnection]) -> None:
        connection = share.fullest().oldest
        self.remove(connection)
        self.closed += 1
        connection.give_up()


_current: WaitingConnections | None = None


def new_waiting_connections() -> WaitingConnections:
    """For a new server: none yet, bounded as the settings say and as the process may open files."""
    global _current
    config = get_server_config()
    _current = WaitingConnections(
        config.http_max_waiting_per_address, affordable(config.http_max_waiting), is_trusted_proxy
    )
    return _current


def current_waiting_connections() -> WaitingConnections | None:
    """Those of the server that runs in this process, if it is ours."""
    return _current
