"""The limiter: decides by asking Redis in one round trip, from memory where that is certain, or by the failure mode.

A decision never raises. It waits for a Redis that is late, up to a bound. At the bound, while nothing says that Redis
is away, it is made from this instance's share of the limit, and never gives more. The policies' failure modes begin
when the connection is lost or silent for too long. Every verdict is counted once, by policy and outcome.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from flotilla.ratelimit import counts as outcomes
from flotilla.ratelimit.algorithms.answers import Answer
from flotilla.ratelimit.breaker import Breaker
from flotilla.ratelimit.counts import Counts
from flotilla.ratelimit.decisions import ALLOWED, Claim, Decision, Verdict
from flotilla.ratelimit.denials import Denials
from flotilla.ratelimit.local import LocalBuckets
from flotilla.ratelimit.policies import CLOSED, LOCAL, OPEN
from flotilla.ratelimit.shares import Shares
from flotilla.store import Script, Shard, StoreUnavailable, reading

logger = logging.getLogger("flotilla.ratelimit")

GRACE = 0.02  # seconds more when this process itself was late to read the answer
LATE = 0.005  # seconds after its time that make it late
NEAR = 0.8  # of the quota
RETRY_WHILE_AWAY = 1.0  # seconds after which a client may try again that a closed policy denied

_TAKE = Script.load("flotilla.ratelimit", "take")
_Reply = tuple[int, list[Answer]]


class Patience(NamedTuple):
    """How many seconds a decision waits for Redis. When a silent Redis is away is said by the connection's time-out."""

    http: float = 0.5
    websocket: float = 1.5  # a command has 4 s, and does its own work afterwards
    probe: float = 0.05  # for the one call that finds out whether a Redis that was away is back


class Limiter:
    """One process's limiter. `decide` in coroutines asks `shard`, `decide_sync` in threads `sync_shard`: one Redis."""

    def __init__(
        self,
        shard: Shard,
        sync_shard: Shard,
        *,
        instances: Callable[[], int] = lambda: 1,
        journal: str = "",
        patience: Patience = Patience(),  # noqa: B008  immutable
    ) -> None:
        self.shard = shard
        self.sync_shard = sync_shard
        self.patience = patience
        self.counts = Counts()
        self.denials = Denials()
        self.breaker = Breaker()
        self._probe_shard = Shard(0, sync_shard.url, patience.probe)
        self._journal = journal
        self._connections = LocalBuckets()
        self._shares = Shares(instances)

    def forget(self) -> None:
        """Forget the denials: they may be wrong since a personal limit changed or a key was reset."""
        self.denials.clear()

    def heard(self) -> None:
        """Redis has answered another call: it is there."""
        if self.breaker.open:
            self.breaker.succeeded()

    async def close(self) -> None:
        """Close this loop's connection and those of threads."""
        for shard in (self.shard, self.sync_shard, self._probe_shard):
            await shard.close()

    async def decide(self, claims: Sequence[Claim], patience: float | None = None) -> Decision:
        """Whether the claims are granted, all or none. `patience`: seconds to wait for Redis (that of HTTP)."""
        decision, here, shared = self._before(claims)
        if decision is not None:
            return decision
        question = self._asked(shared)
        patience = self.patience.http if patience is None else patience
        probing = self.breaker.open
        answer = self.shard.start(_TAKE, *self._call(question))
        try:
            answered = await _within(self.patience.probe if probing else patience, answer)
        except asyncio.CancelledError:
            answer.add_done_callback(partial(self._late, question))
            raise
        if not answered:
            decision = self._alone(shared, here, away=probing, asked=question)
            answer.add_done_callback(partial(self._late, question))
            return decision
        try:
            reply = _read(answer.result())
        except StoreUnavailable as error:
            self._failed(question, error, silent=question.age >= self.shard.timeout)
            return self._alone(shared, here, away=True)
        return self._after(question, here, reply)

    def decide_sync(self, claims: Sequence[Claim]) -> Decision:
        """`decide` for code without an event loop."""
        decision, here, shared = self._before(claims)
        if decision is not None:
            return decision
        question = self._asked(shared)
        probing = self.breaker.open
        shard = self._probe_shard if probing else self.sync_shard
        try:
            reply = _read(shard.run_sync(_TAKE, *self._call(question)))
        except StoreUnavailable as error:
            late = question.age >= shard.timeout  # one slow connection of a thread does not mean that Redis is away
            self._failed(question, error, silent=False)
            return self._alone(shared, here, away=probing or not late or self.breaker.open)
        return self._after(question, here, reply)

    # What needs no round trip

    def _before(self, claims: Sequence[Claim]) -> tuple[Decision | None, list[Verdict], list[Claim]]:
        """The decision if Redis need not be asked; else None, with what was taken in memory and what is left to ask."""
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
            return self._alone(shared, here, away=True), here, shared
        return None, here, shared

    def _remembered(self, claim: Claim) -> Verdict | None:
        if claim.policy.shadow:
            return None
        left = self.denials.left(claim.key, claim.policy.cost)
        return Verdict(claim, False, 0, left, left, outcomes.DENIED) if left else None

    # What Redis says

    def _asked(self, claims: Sequence[Claim]) -> "_Question":
        question = _Question(claims)
        question.debts = self._shares.ask(question.shares)
        return question

    def _call(self, question: "_Question") -> tuple[list[str], list[Any]]:
        debts = iter(question.debts)
        keys, args = [claim.key for claim in question.claims], list[Any]((len(question.claims),))
        for claim in question.claims:
            policy, rate = claim.policy, claim.rate
            args += (
                ("s", policy.cost, int(policy.shadow), rate.period_us, rate.count, rate.grain)
                if rate.strict
                else ("g", policy.cost, int(policy.shadow), rate.interval, rate.quota, 0)
            )
            args.append(next(debts) if _by_share(claim) else 0)
        if self._journal:
            keys.append(self._journal)
        return keys, args

    def _after(self, question: "_Question", here: list[Verdict], reply: _Reply) -> Decision:
        at, answers = reply
        decision = Decision(True, [*here, *_verdicts(question.claims, answers)], at)
        decision.allowed = not decision.denials
        self._heard(question, answers)
        if not decision.allowed:
            self._give_back(here)
        return self._counted(decision)

    def _heard(self, question: "_Question", answers: Sequence[Answer]) -> None:
        """Redis has answered, in time or late: what it said is remembered."""
        self.counts.took(question.age)
        self.breaker.succeeded()
        taken = True
        for claim, answer in zip(question.claims, answers, strict=True):
            if not answer.allowed and not claim.policy.shadow:
                taken = False
                self.denials.remember(claim.key, claim.policy.cost, question.asked, answer.retry_after / 1e6)
        if len(question.shares) < len(answers):
            answers = [answer for claim, answer in zip(question.claims, answers, strict=True) if _by_share(claim)]
        self._shares.hear(question.shares, question.debts, answers, taken=taken, admitted=question.admitted)

    def _late(self, question: "_Question", answer: "asyncio.Future[Any]") -> None:
        """An answer that came when the decision had already been made without it."""
        error = asyncio.CancelledError() if answer.cancelled() else answer.exception()
        if error is None:
            self._heard(question, _read(answer.result())[1])
        else:
            self._failed(question, error, silent=question.age >= self.shard.timeout)

    def _failed(self, question: "_Question", error: BaseException, *, silent: bool) -> None:
        """Redis did not answer a question, or with an error."""
        self._shares.fail(question.shares, question.debts, admitted=question.admitted)
        was_open = self.breaker.open
        self.breaker.failed(for_long=silent)
        if self.breaker.open and not was_open:
            logger.warning("limits are decided without Redis: %s", error)

    def _give_back(self, here: list[Verdict]) -> None:
        taken = [Answer(verdict.allowed, 0, 0, 0) for verdict in here]
        self._connections.give_back([verdict.claim for verdict in here], taken)

    # What is decided without an answer

    def _alone(
        self, shared: list[Claim], here: list[Verdict], *, away: bool, asked: "_Question | None" = None
    ) -> Decision:
        """Decide without Redis. While it is away, each policy's failure mode counts; as long as it is only late, open
        policies give this instance's share as well.

        A question that was `asked` may still be carried out: what it takes is owed to Redis only if it was not.
        """
        by_share = (LOCAL,) if away else (LOCAL, OPEN)
        verdicts = [_denied(claim) for claim in shared if claim.policy.failure == CLOSED and not claim.policy.shadow]
        if not verdicts:
            local = [claim for claim in shared if claim.policy.failure in by_share]
            answers = dict(
                zip((claim.key for claim in local), self._shares.take(local, asked=asked is not None), strict=True)
            )
            verdicts = [_failed(claim, answers.get(claim.key)) for claim in shared]
        decision = Decision(True, [*here, *verdicts])
        decision.allowed = not decision.denials
        if asked is not None:
            asked.admitted = decision.allowed
        if not decision.allowed:
            self._give_back(here)
        return self._counted(decision)

    def _counted(self, decision: Decision) -> Decision:
        """Count the verdicts that took effect: when one policy denies, what the others allowed did not happen."""
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


def _denied(claim: Claim) -> Verdict:
    return Verdict(claim, False, 0, RETRY_WHILE_AWAY, RETRY_WHILE_AWAY, outcomes.FAILED_CLOSED)


def _failed(claim: Claim, answer: Answer | None) -> Verdict:
    if answer is not None:
        return _verdicts([claim], [answer])[0]._replace(outcome=outcomes.FAILED_LOCAL)
    return Verdict(claim, True, claim.rate.quota, 0.0, 0.0, outcomes.FAILED_OPEN)


def _by_share(claim: Claim) -> bool:
    """Whether it may be admitted without Redis's answer from this instance's share, which must then be kept."""
    return claim.policy.failure != CLOSED


class _Question:
    """One question to Redis: its claims, the debts it hands over, and whether it was admitted before an answer came."""

    __slots__ = ("admitted", "asked", "claims", "debts", "shares")

    def __init__(self, claims: Sequence[Claim]) -> None:
        self.claims = claims
        self.shares = [claim for claim in claims if _by_share(claim)]
        self.debts: Sequence[int] = ()  # of `shares`
        self.asked = time.monotonic()
        self.admitted = False  # without waiting for the answer

    @property
    def age(self) -> float:
        """Seconds since it was asked."""
        return time.monotonic() - self.asked


def _read(reply: list[int]) -> _Reply:
    with reading("the limits"):
        at, *flat = map(int, reply)
        return at, [Answer(bool(flat[i]), *flat[i + 1 : i + 4]) for i in range(0, len(flat), 4)]


async def _within(seconds: float, answer: "asyncio.Future[Any]") -> bool:
    """Whether the answer has come in time. The call is not cancelled: an answer that comes later still counts."""
    loop = asyncio.get_running_loop()
    due = loop.time() + seconds
    await asyncio.wait((answer,), timeout=seconds)
    if not answer.done() and loop.time() > due + LATE:  # this process was busy: the answer may lie there unread
        await asyncio.wait((answer,), timeout=GRACE)
    return answer.done()
