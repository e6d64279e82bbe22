"""Connections of one instance as others may see them, a page at a time: ids, addresses and numbers, no payloads.

A page costs memory for itself alone, whatever the number of connections: it holds those whose ids come next.
"""

import heapq
from collections.abc import Iterable
from typing import Any

from realtime.session.session import Session

MOST = 200  # connections in a page
MOST_CHANNELS = 20  # named of one connection


def page(sessions: Iterable[Session], instance: str, text: str, after: str, limit: int) -> dict[str, Any]:
    """Up to `limit` connections with ids above `after`, in order, and how many there are of them all."""
    found = [session for session in sessions if not text or _shows(session, text)]
    following = (session for session in found if session.client > after)
    rows = heapq.nsmallest(min(limit, MOST), following, key=lambda session: session.client)
    return {"total": len(found), "rows": [_row(session, instance) for session in rows]}


def _shows(session: Session, text: str) -> bool:
    """A search: the beginning of a user, address or id, or a part of the client's name."""
    begins = (session.identity.user, session.address, session.client)
    return any(value.startswith(text) for value in begins) or text.lower() in session.name.lower()


def _row(session: Session, instance: str) -> dict[str, Any]:
    channels = sorted(session.subscriptions)
    return {
        "client": session.client,
        "user": session.identity.user,
        "via": session.identity.via,
        "address": session.address,
        "name": session.name,
        "instance": instance,
        "since": session.since,
        "channels": channels[:MOST_CHANNELS],
        "num_channels": len(channels),
        "waiting": session.socket.unsent,
    }
