"""How a drain sends its clients to other instances: as fast as those can let them in, and within the deadline.

`Spread` is the arithmetic: how many go now, in small even steps. `send_away` does it for a node. Each instance says in
its lease's `about` how many clients a second it can let in (`admission_rate`); the sum over those that live and do not
drain is the rate. It is asked for again and again, for a replacement counts as soon as it is alive. The SDKs add a
random delay of their own (0.1 to 1 s), so clients arrive more evenly than they leave.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from flotilla.realtime.node.interface import NodeParts
from flotilla.realtime.node.peak_rate import PeakRate
from flotilla.realtime.protocol.codes import DisconnectCode
from flotilla.store import StoreUnavailable

logger = logging.getLogger("flotilla.realtime.drain")

STEP = 0.05  # seconds from one group of clients to the next
LOOK_EVERY = 1.0  # seconds until the instances that stay are asked for again
LOOK_WITHIN = 0.5  # seconds Redis may take for it
IN_TIME = 0.8  # the part of the deadline in which all are told; the rest is for cleaning up after the last


class Spread:
    """How many go now, so that all have gone at `ends`. Times in seconds of one clock."""

    def __init__(self, now: float, ends: float) -> None:
        self._at = now - STEP  # so that the first step is at once
        self._ends = ends
        self._owed = 0.0

    def due(self, now: float, left: int, rate: float) -> int:
        """How many of the `left` go at `now`, at `rate` a second or at what the deadline needs."""
        if now + STEP >= self._ends:
            return left
        passed = min(now - self._at, 2 * STEP)  # a step that is late is not made up for by a burst
        self._at = now
        self._owed += max(rate, left / (self._ends - now)) * passed
        count = min(left, int(self._owed))
        self._owed -= count
        return count


def admitted_elsewhere(living: Iterable[Mapping[str, Any]], own: str, rate: int) -> tuple[int, int]:
    """How many clients a second the others let in together, and how many instances those are.

    `rate` is this instance's own. It counts for one that does not say, and where no other is there: a replacement will
    be as fast.
    """
    others = [about for about in living if about.get("incarnation") != own and not about.get("draining")]
    if not others:
        return rate, 0
    return sum(int(about.get("admission_rate") or rate) for about in others), len(others)


async def send_away(node: NodeParts, deadline: float) -> None:
    """Tell every client 3001 within `deadline` seconds, those that wait to be let in as well. Each one's presence is
    removed as it is told. The log says how many there were, and how fast."""
    began = node.now()
    node.admission.hold()
    clients = _left(node)
    spread = Spread(began, began + IN_TIME * deadline)
    rate, others, look_at, gone = node.admission_rate, 0, began, PeakRate()
    while (left := _left(node)) and (now := node.now()) < began + deadline:
        if now >= look_at:
            rate, others = await _look(node, rate, others)
            now = node.now()
            look_at = now + LOOK_EVERY
        count = spread.due(now, left, rate)
        for _ in range(count):
            gone.note(now)
        tell(node, count)
        await asyncio.sleep(STEP)
    node.admission.open()
    seconds = max(node.now() - began - STEP, STEP)
    logger.info(
        "told %d clients to reconnect in %.2f s, %.0f a second, at most %d within one",
        *(gone.total, seconds, gone.total / seconds, gone.most(node.now())),
    )
    if others and clients / (IN_TIME * deadline) > rate:
        logger.warning("the deadline is too short for %d clients: %d others let in %d a second", clients, others, rate)


def tell(node: NodeParts, count: int) -> None:
    """Send so many clients away: first those that are in. Of those that wait, so many are let in, and told at once."""
    going = list(islice(node.clients.values(), count))
    for client in going:
        client.disconnect(DisconnectCode.SHUTDOWN)
    node.admission.let_in(count - len(going))


def _left(node: NodeParts) -> int:
    return len(node.clients) + node.admission.waiting


async def _look(node: NodeParts, rate: int, others: int) -> tuple[int, int]:
    """As `admitted_elsewhere`, from Redis; what was known before while Redis does not answer."""
    try:
        async with asyncio.timeout(LOOK_WITHIN):
            living = await node.presence.instances()
    except (StoreUnavailable, TimeoutError) as error:
        logger.warning("the instances that stay are not known: %s", error or "no answer")
        return rate, others
    found = admitted_elsewhere(living, node.presence.incarnation, node.admission_rate)
    if found != (rate, others):
        logger.info("%d other instances let in %d clients a second", found[1], found[0])
    return found
