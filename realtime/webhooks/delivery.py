"""Delivery to one endpoint: one process at a time, oldest events first, again and again until they are taken.

An event leaves Redis when the endpoint has answered 2xx to a request with it, so each is delivered at least once, and
those of one channel, or of one user, in their order. After a failure fewer events go together, so that a slow endpoint,
or one event that it cannot take, holds up as little as can be. Redis's faults are waited out.
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from flotilla.realtime.outgoing_http import Address, RequestFailed, ask, is_public
from flotilla.realtime.webhook_settings import Webhook
from flotilla.realtime.webhooks.queue import EndpointQueue, Fetched, Superseded
from flotilla.realtime.webhooks.requests import SIGNATURE, body_of, event_of, signature, time_of
from flotilla.store import Backoff, StoreUnavailable, jittered

logger = logging.getLogger(__name__)

POLL = 0.25  # seconds between two looks at a queue that was empty
LOOK = 1.0  # seconds between two looks whether the right to deliver is free
MARGIN = 5.0  # seconds that the right lasts beyond a request
FIRST_PAUSE = 0.5  # seconds before a request that failed is sent again; then longer, up to `retry_longest`
MAX_BODY = 512 * 1024  # bytes of events in one request; one event may have more
OUTCOMES = ("delivered", "failed", "refused")


@dataclass(slots=True)
class DeliveryStats:
    """What this process has done for one endpoint. `refused`: answers other than 2xx; `failed`: no answer at all. While
    it is the one that delivers, `waiting` are all events that wait, and `oldest` says since when the first of them
    does (Unix seconds; 0: none)."""

    requests: Counter[str] = field(default_factory=Counter)
    events: int = 0
    dropped: int = 0
    waiting: int = 0
    oldest: float = 0.0
    delivering: bool = False


class Delivery:
    """Empties one endpoint's queue. `run` for ever; `let_go` at the end."""

    def __init__(
        self, name: str, webhook: Webhook, queue: EndpointQueue, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = name
        self.stats = DeliveryStats()
        self._webhook = webhook
        self._queue = queue
        self._clock = clock
        self._size = webhook.max_batch
        self._turn = 0  # so that the same parts are not always first
        self._backoff = Backoff(FIRST_PAUSE, max(FIRST_PAUSE, webhook.retry_longest))

    async def run(self) -> None:
        """Deliver while this process has the right to, and wait for that right else."""
        pauses = Backoff(first=POLL, longest=2.0)
        while True:
            try:
                if not await self._turn_of_delivery():
                    await asyncio.sleep(jittered(POLL if self.stats.delivering else LOOK))
            except Superseded:
                with contextlib.suppress(StoreUnavailable):
                    await self.let_go()  # where Redis has lost its term, a later one is needed
                await asyncio.sleep(jittered(LOOK))
            except StoreUnavailable as error:
                if not pauses.failures:
                    logger.warning("webhook %s: waits for Redis: %s", self.name, error)
                await asyncio.sleep(pauses.next())
            else:
                pauses.reset()

    async def let_go(self) -> None:
        """Give the right back."""
        if self.stats.delivering:
            self._not_ours()
            await self._queue.let_go()

    async def _turn_of_delivery(self) -> bool:
        """One request, if this process may make it and there is something to tell; False when not."""
        began = self._clock()
        term = await self._queue.hold(self._webhook.timeout + MARGIN)
        if not term:
            self._not_ours()
            return False
        self.stats.delivering = True
        batch = await self._next_batch(term)
        if not batch:
            return False
        events = [event for one in batch for event in _written(one, self.name)]
        if events and (why := await self._post(events, began)):
            await self._failed(why, term)
            return True
        await self._queue.ack(term, batch)
        self._succeeded(len(events))
        return True

    async def _next_batch(self, term: int) -> list[Fetched]:
        filled = await self._queue.filled()
        self.stats.waiting = sum(count for _, count in filled)
        if not filled:
            self.stats.oldest = 0.0
            return []
        self._turn = (self._turn + 1) % len(filled)
        parts = [part for part, _ in (*filled[self._turn :], *filled[: self._turn])][: self._size]
        fetched = await self._queue.fetch(term, parts, max(1, self._size // len(parts)))
        self._note_oldest(min((time_of(one.events[0]) for one in fetched if one.events), default=0.0))
        self._count_dropped(sum(one.dropped for one in fetched))
        return list(_within(fetched, MAX_BODY))

    async def _post(self, events: list[bytes], began: float) -> str:
        """Send events; says why they were not taken, "" when they were. `began`: since when the right is ours."""
        webhook, body = self._webhook, body_of(events)
        headers = {
            "Content-Type": "application/json",
            SIGNATURE: signature(webhook.secrets, int(time.time()), body),
        }
        within = webhook.timeout + MARGIN / 2 - (self._clock() - began)
        if within <= 0:
            return "this process was too slow"
        try:
            answer = await ask(
                "POST",
                webhook.url,
                within=min(within, webhook.timeout),
                headers=headers,
                body=body,
                allowed=self._allowed,
            )
        except RequestFailed as error:
            self.stats.requests["failed"] += 1
            return str(error)
        if 200 <= answer.status < 300:
            self.stats.requests["delivered"] += 1
            return ""
        self.stats.requests["refused"] += 1
        hint = ": redirects are not followed" if 300 <= answer.status < 400 else ""
        return f"the answer is {answer.status}{hint}"

    def _allowed(self, address: Address) -> bool:
        """Public addresses; private ones where that is set, and those alone over http."""
        public = is_public(address)
        if not self._webhook.url.lower().startswith("https:"):
            return self._webhook.allow_private and not public
        return public or self._webhook.allow_private

    def _succeeded(self, events: int) -> None:
        self.stats.events += events
        self._size = min(self._webhook.max_batch, self._size * 2)
        if self._backoff.failures:
            logger.warning("webhook %s: takes events again", self.name)
            self._backoff.reset()

    async def _failed(self, why: str, term: int) -> None:
        """Wait before the next request; the right to make it is kept meanwhile. Raises Superseded when it is gone."""
        if not self._backoff.failures:
            logger.warning("webhook %s: events were not taken, to be sent again: %s", self.name, why)
        self._size = max(1, self._size // 2)
        until = self._clock() + self._backoff.next()
        while (left := until - self._clock()) > 0:
            await asyncio.sleep(min(left, MARGIN / 2))
            if await self._queue.hold(self._webhook.timeout + MARGIN) != term:
                raise Superseded

    def _note_oldest(self, oldest: float) -> None:
        """While requests fail, few parts are looked at in turn: the oldest of all was in one seen before."""
        known = self.stats.oldest
        self.stats.oldest = min(oldest, known) if self._backoff.failures and oldest and known else oldest

    def _count_dropped(self, dropped: int) -> None:
        if dropped:
            self.stats.dropped += dropped
            logger.warning("webhook %s: %d events were dropped: too many waited", self.name, dropped)

    def _not_ours(self) -> None:
        self.stats.delivering = False
        self.stats.waiting, self.stats.oldest = 0, 0.0
        self._backoff.reset()


def _written(fetched: Fetched, name: str) -> Iterable[bytes]:
    for raw in fetched.events:
        event = event_of(raw, f"{name}-{fetched.part.place}")
        if event is None:
            logger.error("webhook %s: an event in Redis cannot be read, it is left out", name)
        else:
            yield event


def _within(fetched: list[Fetched], most: int) -> Iterable[Fetched]:
    """As many of the events as have at most so many bytes together, but one at least; each part's from its first."""
    size = 0
    for one in fetched:
        kept: list[bytes] = []
        for raw in one.events:
            size += 2 * len(raw)  # as JSON with names, about
            if size > most and (kept or size > 2 * len(raw)):
                break
            kept.append(raw)
        if kept:
            yield Fetched(one.part, one.first, one.dropped, kept)
        if size > most:
            return
