"""A client's deadlines: its connect command, pings and pongs, and what expires; and what is done at each.

The node's timers know the next of them alone. Times are loop time, but for expiries, which are Unix time, as tokens
have it.
"""

import random
import time
from collections.abc import Mapping
from typing import Any, Protocol

from flotilla.realtime.access.identity import Identity
from flotilla.realtime.client.states import State
from flotilla.realtime.engine.subscription import Subscription
from flotilla.realtime.protocol.codes import DisconnectCode, UnsubscribeCode

EXPIRY_GRACE = 25.0  # seconds a client has to refresh what expired
LATEST = 2.0**53  # Unix time; an expiry after it never comes, and would overflow the timers


class Timed(Protocol):
    """A client, as its deadlines see it. `next_ping`, `pong_by` and `deadline` are loop time, 0.0 for never."""

    state: State
    identity: Identity
    expire_at: float | None
    next_ping: float
    pong_by: float
    deadline: float

    @property
    def node(self) -> Any: ...

    @property
    def subscriptions(self) -> Mapping[str, Subscription]: ...

    def ping(self) -> None: ...

    def disconnect(self, code: int, reason: str | None = None) -> None: ...

    def end_subscription(self, subscription: Subscription, code: int, reason: str) -> None: ...


def first_ping(client: Timed) -> float:
    """When a new connection is pinged first, at random, for many connect at once; 0.0 where nobody is pinged."""
    interval = client.node.config.ping_interval
    return client.node.now() + interval * random.uniform(0.5, 1) if interval else 0.0


def next_deadline(client: Timed) -> float | None:
    """The next deadline; None when there is none."""
    if client.state is State.CLOSED:
        return None
    if client.state is not State.CONNECTED:
        return client.deadline
    times = [moment for moment in (client.next_ping, client.pong_by) if moment]
    expiries = [one.expire_at for one in client.subscriptions.values() if one.expire_at]
    if client.expire_at:
        expiries.append(client.expire_at)
    if expiries:
        ahead = client.node.now() - time.time() + _grace(client)
        times += [expiry + ahead for expiry in expiries if expiry < LATEST]
    return min(times, default=None)


def meet(client: Timed, now: float) -> None:
    """Do what is due."""
    if client.state is not State.CONNECTED:
        if client.state is not State.CLOSED:
            client.disconnect(DisconnectCode.STALE)
        return
    if client.pong_by and now >= client.pong_by:
        client.disconnect(DisconnectCode.NO_PONG)
        return
    if client.next_ping and now >= client.next_ping:
        client.ping()
        client.pong_by = now + client.node.config.pong_timeout
        client.next_ping += client.node.config.ping_interval
    _expire(client, time.time())


def _grace(client: Timed) -> float:
    """Only a token can be refreshed over the connection."""
    return 0.0 if client.identity.via in ("session", "hook") else EXPIRY_GRACE


def _expire(client: Timed, now: float) -> None:
    if client.expire_at and now >= client.expire_at + _grace(client):
        client.disconnect(DisconnectCode.EXPIRED)
        return
    for subscription in list(client.subscriptions.values()):
        if subscription.expire_at and now >= subscription.expire_at + EXPIRY_GRACE:
            if subscription.server_side:
                client.disconnect(DisconnectCode.SUBSCRIPTION_EXPIRED)
                return
            client.end_subscription(subscription, UnsubscribeCode.EXPIRED, UnsubscribeCode.EXPIRED.reason)
