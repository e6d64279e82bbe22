"""Connections of one instance as others may see them, a page at a time: ids, addresses and numbers, no payloads.

A page costs memory for itself alone, whatever the number of connections: it holds those whose ids come next.
"""

import asyncio
import heapq
from collections.abc import Callable, Sequence
from typing import Any

from realtime.session.session import Session

MOST = 200  # connections in a page
STRETCH = 1000  # connections looked at before others get their turn
MOST_CHANNELS = 20  # named of one connection


async def page(
    sessions: Sequence[Session], fits: Callable[[Session], bool], instance: str, text: str, after: str, limit: int
) -> dict[str, Any]:
    """Up to `limit` of the connections that fit with ids above `after`, in order, and how many fit in all.

    Others get their turn meanwhile: looking through a hundred thousand takes a while.
    """
    total, rows = 0, list[Session]()
    for start in range(0, len(sessions), STRETCH):
        found = [one for one in sessions[start : start + STRETCH] if fits(one) and (not text or _shows(one, text))]
        total += len(found)
        rows = heapq.nsmallest(min(limit, MOST), [*rows, *(one for one in found if one.client > after)], key=_id)
        await asyncio.sleep(0)
    return {"total": total, "rows": [_row(session, instance) for session in rows]}


def _id(session: Session) -> str:
    return session.client


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
