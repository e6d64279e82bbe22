"""What a connection is to be looked at for, and when: its connect command, pings and pongs, what expires.

Each connection has one place on the node's wheel, at the next of them. Times of the loop, but for expiries, which are
Unix time, as tokens have it.
"""

import random
import time
from typing import TYPE_CHECKING

from flotilla.realtime.client.states import State
from flotilla.realtime.protocol.codes import DisconnectCode, UnsubscribeCode

if TYPE_CHECKING:
    from flotilla.realtime.client.client import Session

EXPIRY_GRACE = 25.0  # seconds a client has to refresh what expired
LATEST = 2.0**53  # Unix time beyond which an expiry is never met, and would overflow the wheel


def first_ping(session: "Session") -> float:
    """When a connection that has just come is pinged: spread, as many come at once; 0.0 where nobody is."""
    interval = session.node.config.ping_interval
    return session.node.now() + interval * random.uniform(0.5, 1) if interval else 0.0


def following(session: "Session") -> float | None:
    """The next deadline; None when there is none."""
    if session.state is State.CLOSED:
        return None
    if session.state is not State.CONNECTED:
        return session.deadline
    ahead = session.node.now() - time.time()
    expiries = [session.expire_at, *(s.expire_at for s in session.subscriptions.values())]
    times = [expiry + _grace(session) + ahead for expiry in expiries if expiry and expiry < LATEST]
    times += [moment for moment in (session.next_ping, session.pong_by) if moment]
    return min(times, default=None)


def meet(session: "Session", now: float) -> None:
    """Do what is due."""
    if session.state is not State.CONNECTED:
        if session.state is not State.CLOSED:
            session.disconnect(DisconnectCode.STALE)
        return
    if session.pong_by and now >= session.pong_by:
        session.disconnect(DisconnectCode.NO_PONG)
        return
    if session.next_ping and now >= session.next_ping:
        session.ping()
        session.pong_by = now + session.node.config.pong_timeout
        session.next_ping += session.node.config.ping_interval
    _expire(session, time.time())


def _grace(session: "Session") -> float:
    """A session cookie cannot be refreshed over the connection, a token can."""
    return 0.0 if session.identity.via == "session" else EXPIRY_GRACE


def _expire(session: "Session", now: float) -> None:
    if session.expire_at and now >= session.expire_at + _grace(session):
        session.disconnect(DisconnectCode.EXPIRED)
        return
    for subscription in list(session.subscriptions.values()):
        if subscription.expire_at and now >= subscription.expire_at + EXPIRY_GRACE:
            if subscription.server_side:
                session.disconnect(DisconnectCode.SUBSCRIPTION_EXPIRED)
                return
            session.end_subscription(subscription, UnsubscribeCode.EXPIRED, UnsubscribeCode.EXPIRED.reason)
