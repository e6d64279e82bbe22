"""The limiter: decides by asking Redis in one round trip, from memory where that is certain, or by the failure mode.

A decision never raises. It waits for a Redis that is late, up to a bound. At the bound, while nothing says that Redis
is away, it is made from this instance's share of the limit, and never gives more. The policies' failure modes begin
when the connection is lost or silent for too long. Every verdict is counted once, by policy and outcome.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

from flotilla.ratelimit import counts as outcomes
from flotilla.ratelimit.algorithms.answers import Answer
from flotilla.ratelimit.algorithms.rates import Rate
from flotilla.ratelimit.breaker import Breaker
from flotilla.ratelimit.counts import Counts
from flotilla.ratelimit.decisions import ALLOWED, Claim, Decision, Verdict
from flotilla.ratelimit.denials import Denials
from flotilla.ratelimit.local import LocalBuckets
from flotilla.ratelimit.policies import CLOSED, LOCAL, OPEN
from flotilla.ratelimit.shares import Shares
from flotilla.store import Script, Shard, StoreUnavailable, reading
from flotilla.store.resp import array, words

logger = logging.getLogger("flotilla.ratelimit")

GRACE = 0.02  # seconds more when this process itself was late to read the answer
LATE = 0.005  # seconds after its time that make it late
NEAR = 0.8  # of the quota
RETRY_WHILE_AWAY = 1.0  # seconds after which a client may try again that a closed policy denied

_TAKE = Script.load("flotilla.ratelimit", "take")
_EVALSHA = words("EVALSHA", _TAKE.sha)
_NO_DEBT = words(0)
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
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.shard.send(self._call(question), answer, _TAKE)
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
            reply = _read(shard.send_sync(self._call(question), _TAKE))
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

    def _call(self, question: "_Question") -> bytes:
        """The call of the script, packed."""
        debts, claims = iter(question.debts), question.claims
        keys = [claim.key for claim in claims]
        if self._journal:
            keys.append(self._journal)
        parts = [array(4 + len(keys) + 7 * len(claims)), _EVALSHA, words(len(keys), *keys, len(claims))]
        for claim in claims:
            parts.append(_asked_of(claim.rate, claim.policy.cost, claim.policy.shadow))
            debt = next(debts) if _by_share(claim) else 0
            parts.append(words(debt) if debt else _NO_DEBT)
        return b"".join(parts)

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


@lru_cache(maxsize=1024)
def _asked_of(rate: Rate, cost: int, shadow: bool) -> bytes:
    """What the script is told of a policy at a rate, packed; the debt follows it."""
    if rate.strict:
        return words("s", cost, int(shadow), rate.period_us, rate.count, rate.grain)
    return words("g", cost, int(shadow), rate.interval, rate.quota, 0)


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
    await _wait(loop, answer, seconds)
    if not answer.done() and loop.time() > due + LATE:  # this process was busy: the answer may lie there unread
        await _wait(loop, answer, GRACE)
    return answer.done()


async def _wait(loop: asyncio.AbstractEventLoop, answer: "asyncio.Future[Any]", seconds: float) -> None:
    """As `asyncio.wait` for one future, with less ado: every limited request waits here."""
    if answer.done():
        return
    woken = loop.create_future()

    def wake(_: object = None) -> None:
        if not woken.done():
            woken.set_result(None)

    timer = loop.call_later(seconds, wake)
    answer.add_done_callback(wake)
    try:
        await woken
    finally:
        timer.cancel()
        answer.remove_done_callback(wake)
