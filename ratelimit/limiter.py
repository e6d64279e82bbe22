"""Decides: asks Redis in one round trip, or memory where that is certain, or the policy's failure mode.

A decision never raises and never waits longer than the deadline. Every verdict is counted once, by policy and outcome.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from ratelimit import counts as outcomes
from ratelimit.answers import Answer
from ratelimit.breaker import Breaker
from ratelimit.counts import Counts
from ratelimit.decisions import ALLOWED, Claim, Decision, Verdict
from ratelimit.denials import Denials
from ratelimit.local import LocalBuckets
from ratelimit.policies import CLOSED, LOCAL
from store import Script, Shard, StoreUnavailable, reading

logger = logging.getLogger("ratelimit")

DEADLINE = 0.05  # seconds Redis has to decide
GRACE = 0.02  # seconds more when this process itself was late to look
LATE = 0.005
NEAR = 0.8  # of the quota
RETRY_WHILE_AWAY = 1.0  # seconds told to those whom a closed policy turns away

_TAKE = Script.load("ratelimit", "take")
_Reply = tuple[int, list[Answer]]


class Limiter:
    """One process's limiter. `decide` in coroutines asks `shard`, `decide_sync` in threads `sync_shard`: one Redis."""

    def __init__(
        self,
        shard: Shard,
        sync_shard: Shard,
        *,
        instances: Callable[[], int] = lambda: 1,
        journal: str = "",
        deadline: float = DEADLINE,
    ) -> None:
        self.shard = shard
        self.sync_shard = sync_shard
        self.counts = Counts()
        self.denials = Denials()
        self.breaker = Breaker()
        self._instances = instances
        self._journal = journal
        self._deadline = deadline
        self._connections = LocalBuckets()
        self._shares = LocalBuckets()

    def forget(self) -> None:
        """What is remembered may be wrong: a personal limit changed, or a key was reset."""
        self.denials.clear()

    async def decide(self, claims: Sequence[Claim]) -> Decision:
        """Whether the claims are granted, all or none."""
        decision, here, shared = self._before(claims)
        if decision is not None:
            return decision
        began = time.monotonic()
        try:
            reply = await self._ask(shared)
        except StoreUnavailable as error:
            return self._without_redis(shared, here, error)
        return self._after(shared, here, began, reply)

    def decide_sync(self, claims: Sequence[Claim]) -> Decision:
        """`decide` for code without an event loop."""
        decision, here, shared = self._before(claims)
        if decision is not None:
            return decision
        began = time.monotonic()
        try:
            keys, args = self._call(shared)
            reply = _read(self.sync_shard.run_sync(_TAKE, keys, args))
        except StoreUnavailable as error:
            return self._without_redis(shared, here, error)
        return self._after(shared, here, began, reply)

    # What needs no round trip

    def _before(self, claims: Sequence[Claim]) -> tuple[Decision | None, list[Verdict], list[Claim]]:
        """The decision if none of it is Redis's, else what was taken in memory and what is left to ask."""
        if not claims:
            return ALLOWED, [], []
        shared = [claim for claim in claims if not claim.policy.in_memory]
        known = [verdict for claim in shared if (verdict := self._remembered(claim)) is not None]
        if known:
            self.counts.remembered += 1
            return self._counted(Decision(False, known)), [], shared
        own = [claim for claim in claims if claim.policy.in_memory]
        here = _verdicts(own, self._connections.take(own)) if own else []
        decision = Decision(True, here)
        if decision.denials or not shared:
            decision.allowed = not decision.denials
            return self._counted(decision), here, shared
        if not self.breaker.closed():
            return self._without_redis(shared, here, None), here, shared
        return None, here, shared

    def _remembered(self, claim: Claim) -> Verdict | None:
        if claim.policy.shadow:
            return None
        left = self.denials.left(claim.key, claim.policy.cost)
        return Verdict(claim, False, 0, left, left, outcomes.DENIED) if left else None

    # What Redis says

    def _call(self, claims: Sequence[Claim]) -> tuple[list[str], list[Any]]:
        keys, args = [claim.key for claim in claims], [len(claims)]
        args_of = [
            ("s", c.policy.cost, int(c.policy.shadow), c.rate.period_us, c.rate.count, c.rate.grain)
            if c.rate.strict
            else ("g", c.policy.cost, int(c.policy.shadow), c.rate.interval, c.rate.quota, 0)
            for c in claims
        ]
        if self._journal:
            keys.append(self._journal)
        return keys, [*args, *(value for values in args_of for value in values)]

    async def _ask(self, claims: Sequence[Claim]) -> _Reply:
        keys, args = self._call(claims)
        return _read(await _within(self._deadline, self.shard.start(_TAKE, keys, args)))

    def _after(self, shared: list[Claim], here: list[Verdict], began: float, reply: _Reply) -> Decision:
        self.counts.took(time.monotonic() - began)
        self.breaker.succeeded()
        at, answers = reply
        decision = Decision(True, [*here, *_verdicts(shared, answers)], at)
        decision.allowed = not decision.denials
        for verdict in decision.denials:
            self.denials.remember(verdict.claim.key, verdict.claim.policy.cost, began, verdict.retry_after)
        if not decision.allowed:
            self._give_back(here)
        return self._counted(decision)

    def _give_back(self, here: list[Verdict]) -> None:
        taken = [Answer(verdict.allowed, 0, 0, 0) for verdict in here]
        self._connections.give_back([verdict.claim for verdict in here], taken)

    # What is decided while Redis is away

    def _without_redis(self, shared: list[Claim], here: list[Verdict], error: Exception | None) -> Decision:
        if error is not None:
            was_open = self.breaker.open
            self.breaker.failed()
            if self.breaker.open and not was_open:
                logger.warning("limits are decided without Redis: %s", error)
        local = [claim._replace(rate=claim.rate.shared_among(max(1, self._instances()))) for claim in shared]
        local = [claim for claim in local if claim.policy.failure == LOCAL]
        answers = dict(zip((claim.key for claim in local), self._shares.take(local), strict=True))
        verdicts = [_failed(claim, answers.get(claim.key)) for claim in shared]
        decision = Decision(True, [*here, *verdicts])
        decision.allowed = not decision.denials
        if not decision.allowed:
            self._give_back(here)
        return self._counted(decision)

    def _counted(self, decision: Decision) -> Decision:
        """Count every verdict that stands: beside a denial, what was allowed has not happened."""
        for verdict in decision.verdicts:
            if decision.allowed or not verdict.allowed:
                policy = verdict.claim.policy
                self.counts.outcome(policy.name, verdict.outcome)
                if not verdict.allowed:
                    self.counts.denied(policy.name, verdict.claim.identity)
        return decision


def _verdicts(claims: Sequence[Claim], answers: Sequence[Answer]) -> list[Verdict]:
    return [
        Verdict(claim, a.allowed, a.remaining, a.retry_after / 1e6, a.reset / 1e6, _outcome(claim, a))
        for claim, a in zip(claims, answers, strict=True)
    ]


def _outcome(claim: Claim, answer: Answer) -> str:
    if not answer.allowed:
        return outcomes.SHADOW if claim.policy.shadow else outcomes.DENIED
    quota = claim.rate.quota
    return outcomes.NEAR if quota - answer.remaining >= NEAR * quota else outcomes.ALLOWED


def _failed(claim: Claim, answer: Answer | None) -> Verdict:
    if answer is not None:
        return _verdicts([claim], [answer])[0]._replace(outcome=outcomes.FAILED_LOCAL)
    if claim.policy.failure == CLOSED and not claim.policy.shadow:
        return Verdict(claim, False, 0, RETRY_WHILE_AWAY, RETRY_WHILE_AWAY, outcomes.FAILED_CLOSED)
    return Verdict(claim, True, claim.rate.quota, 0.0, 0.0, outcomes.FAILED_OPEN)


def _read(reply: list[int]) -> _Reply:
    with reading("the limits"):
        at, *flat = map(int, reply)
        return at, [Answer(bool(flat[i]), *flat[i + 1 : i + 4]) for i in range(0, len(flat), 4)]


async def _within(deadline: float, future: "asyncio.Future[Any]") -> Any:
    """The future's result. Raises StoreUnavailable when it takes too long; what comes later is let go."""
    loop = asyncio.get_running_loop()
    timer = loop.call_later(deadline, _expire, loop, loop.time() + deadline, future)
    try:
        return await future
    finally:
        timer.cancel()


def _expire(loop: asyncio.AbstractEventLoop, due: float, future: "asyncio.Future[Any]") -> None:
    if loop.time() - due > LATE:  # this process was busy: the reply may lie there unread
        loop.call_later(GRACE, _give_up, future)
    else:
        _give_up(future)


def _give_up(future: "asyncio.Future[Any]") -> None:
    if not future.done():
        future.set_exception(StoreUnavailable("no decision within the deadline"))
