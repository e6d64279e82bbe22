"""Limits that are decided in this process alone: those of one connection, which no other process sees.

Claims that are given together are all granted or none. What is remembered is bounded, and is forgotten only when it
means nothing any more (`states`).
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from flotilla.ratelimit.algorithms import gcra, window
from flotilla.ratelimit.algorithms.answers import Answer
from flotilla.ratelimit.algorithms.rates import TICKS
from flotilla.ratelimit.decisions import Claim
from flotilla.ratelimit.states import MAX_KEYS, Remembered, States


class Bucket(Remembered):
    """The state of one key, in the form that `gcra` or `window` has for it; None means that nothing was taken."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        super().__init__()
        self.state: Any = None


class LocalBuckets:
    """Buckets by key, on the process's own clock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, most: int = MAX_KEYS) -> None:
        self._clock = clock
        self._states: States[Bucket] = States(most)
        self._lock = threading.Lock()

    def take(self, claims: Sequence[Claim]) -> list[Answer]:
        """Each claim's answer; taken from all, or from none when one that is not a shadow denies."""
        now = int(self._clock() * 1_000_000)
        with self._lock:
            buckets = [self._states.of(claim, now, Bucket) for claim in claims]
            found = [_look(bucket, claim, now) for bucket, claim in zip(buckets, claims, strict=True)]
            if all(answer.allowed or claim.policy.shadow for claim, (answer, _) in zip(claims, found, strict=True)):
                for bucket, (answer, state) in zip(buckets, found, strict=True):
                    if answer.allowed:
                        bucket.state, bucket.until = state, now + answer.reset
        return [answer for answer, _ in found]

    def give_back(self, claims: Sequence[Claim], answers: Sequence[Answer]) -> None:
        """Undo what `take` took: another limit denied the request."""
        now = int(self._clock() * 1_000_000)
        with self._lock:
            for claim, answer in zip(claims, answers, strict=True):
                bucket = self._states.of(claim, now, Bucket)
                if answer.allowed and bucket.state is not None:
                    bucket.state = _less(bucket.state, claim)


def _look(bucket: Bucket, claim: Claim, now: int) -> tuple[Answer, Any]:
    state, cost, rate = bucket.state, claim.policy.cost, claim.rate
    if rate.strict:
        return window.take(state or (), now, cost, rate)
    return gcra.take(state or 0, now * TICKS, cost, rate)


def _less(state: Any, claim: Claim) -> Any:
    cost, rate = claim.policy.cost, claim.rate
    return window.give_back(state, cost) if rate.strict else gcra.give_back(state, cost, rate)
