"""The load that is planned for, as people describe it, and what follows from that.

Rooms are alike, and connections are spread evenly: for rooms of several kinds plan each kind by itself.
"""

from dataclasses import dataclass
from inspect import signature
from math import isfinite
from typing import Any, Self

from flotilla.realtime.conf import RealtimeConfig

SETTINGS = RealtimeConfig()
"""What an installation has that sets nothing."""
MOST_CONNECTIONS = 10_000_000
SESSION = 3600.0  # seconds a connection lasts where nothing is said of reconnects


class LoadError(ValueError):
    """Options that contradict each other or make no sense: the text says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Load:
    """Who is there, and what they do. Rates are per second, sizes bytes, shares from 0 to 1."""

    users: int
    visitors: int
    connections: int
    rooms: int
    members: float
    rate: float
    size: int
    history: float
    history_size: int
    history_ttl: float
    presence: bool
    join_leave: bool
    reconnects: float
    from_clients: float
    check_every: float
    """Seconds after which a quiet channel is compared with its history (`position_check_interval`)."""
    compressed_to: float
    """What compression leaves of a message; 1: it is off."""

    @classmethod
    def of(
        cls,
        *,
        users: int = 0,
        visitors: int = 0,
        devices: float = 1.0,
        rooms: int,
        members: float | None = None,
        rate: float | None = None,
        room_rate: float | None = None,
        size: int = 120,
        history: float = 1.0,
        history_size: int = 100,
        history_ttl: float = 300.0,
        presence: bool = True,
        join_leave: bool = False,
        reconnects: float | None = None,
        from_clients: float = 1.0,
        check_every: float = SETTINGS.position_check_interval,
        compressed_to: float = 1.0,
    ) -> Self:
        """A load as it is described: `members` of a room (otherwise each connection is in one room), publications a
        second in all or by room. Raises LoadError."""
        numbers = {
            "devices": devices,
            "members": members,
            "rate": rate,
            "room-rate": room_rate,
            "reconnects": reconnects,
            "history-ttl": history_ttl,
            "check-every": check_every,
        }
        for name, value in numbers.items():
            _require(value is None or isfinite(value), f"--{name} is a number")
        _require(
            users >= 0 and visitors >= 0 and users + visitors > 0, "nobody is connected: give --users or --visitors"
        )
        _require(devices > 0, "--devices is the connections of a user: more than 0")
        connections = round(users * devices) + visitors
        _require(
            0 < connections <= MOST_CONNECTIONS,
            f"{connections:,} connections: the model holds from 1 to {MOST_CONNECTIONS:,}",
        )
        _require(rooms >= 1, "--rooms is at least 1")
        members = connections / rooms if members is None else members
        _require(members > 0, "--members is more than 0")
        _require(
            members <= connections,
            f"a room cannot have more members ({members:,.0f}) than there are connections ({connections:,}): "
            "fewer --members, or more --users",
        )
        _require(
            rooms * members >= connections * 0.999,
            f"{rooms:,} rooms of {members:,.0f} hold {rooms * members:,.0f} of {connections:,} connections, the others "
            "would be in none: more --rooms or --members, or fewer --users",
        )
        if rate is not None and room_rate is not None and abs(rooms * room_rate - rate) > 0.001 * max(rate, 1e-9):
            raise LoadError(
                f"--rate {rate:g} and --room-rate {room_rate:g} in {rooms:,} rooms contradict each other: give one"
            )
        _require(rate is not None or room_rate is not None, "how much is published: give --rate, or --room-rate")
        total = rate if rate is not None else rooms * (room_rate or 0.0)
        _require(total >= 0, "a rate is not below 0")
        most = SETTINGS.max_message_bytes
        _require(1 <= size <= most, f"--size is from 1 to {most} bytes: what a client may send")
        for name, share in (("--history", history), ("--from-clients", from_clients)):
            _require(0 <= share <= 1, f"{name} is a share, from 0 to 1")
        _require(0 < compressed_to <= 1, "--compressed-to is what compression leaves: above 0, at most 1")
        _require(history_size >= 1 and history_ttl > 0, "for no history give --history 0")
        _require(check_every > 0, "--check-every is a time above 0")
        if reconnects is not None:
            _require(reconnects >= 0, "--reconnects is not below 0")
        return cls(
            users=users,
            visitors=visitors,
            connections=connections,
            rooms=rooms,
            members=members,
            rate=total,
            size=size,
            history=history,
            history_size=history_size,
            history_ttl=history_ttl,
            presence=presence,
            join_leave=join_leave,
            reconnects=connections / SESSION if reconnects is None else reconnects,
            from_clients=from_clients,
            check_every=check_every,
            compressed_to=compressed_to,
        )

    @property
    def room_rate(self) -> float:
        """Publications a second in one room."""
        return self.rate / self.rooms

    @property
    def subscriptions(self) -> float:
        """Of all connections."""
        return self.rooms * self.members

    @property
    def subscriptions_each(self) -> float:
        """Of one connection."""
        return self.subscriptions / self.connections

    @property
    def deliveries(self) -> float:
        """A second, of publications."""
        return self.rate * self.members

    @property
    def kept(self) -> float:
        """Publications in the history of a room that keeps one."""
        return min(float(self.history_size), self.room_rate * self.history_ttl)


DEFAULTS: dict[str, Any] = {
    name: one.default for name, one in signature(Load.of).parameters.items() if one.default is not one.empty
}
"""What `Load.of` takes for granted."""


def _require(holds: bool, text: str) -> None:
    if not holds:
        raise LoadError(text)
