"""Limits decided in this process for good: those of one connection, which no other process sees.

All or nothing over the claims given together. What is remembered is bounded, and forgotten by time alone (`states`).
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from ratelimit import gcra, window
from ratelimit.answers import Answer
from ratelimit.decisions import Claim
from ratelimit.rates import TICKS
from ratelimit.states import MOST_KEYS, States


class LocalBuckets:
    """Buckets by key, on the process's own clock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, most: int = MOST_KEYS) -> None:
        self._clock = clock
        self._states: States[Any] = States(most)
        self._lock = threading.Lock()

    def take(self, claims: Sequence[Claim]) -> list[Answer]:
        """Each claim's answer; taken from all, or from none when one that is not a shadow denies."""
        now = int(self._clock() * 1_000_000)
        with self._lock:
            found = [self._look(claim, now) for claim in claims]
            if all(answer.allowed or claim.policy.shadow for claim, (answer, _) in zip(claims, found, strict=True)):
                for claim, (answer, state) in zip(claims, found, strict=True):
                    if answer.allowed:
                        self._states.keep(claim, state, now + answer.reset, now)
        return [answer for answer, _ in found]

    def give_back(self, claims: Sequence[Claim], answers: Sequence[Answer]) -> None:
        """Undo what `take` took: another limit denied the request."""
        with self._lock:
            for claim, answer in zip(claims, answers, strict=True):
                state = self._states.get(claim)
                if answer.allowed and state is not None:
                    self._states.change(claim, _less(state, claim))

    def _look(self, claim: Claim, now: int) -> tuple[Answer, Any]:
        state, cost, rate = self._states.get(claim), claim.policy.cost, claim.rate
        if rate.strict:
            return window.take(state or (), now, cost, rate)
        return gcra.take(state or 0, now * TICKS, cost, rate)


def _less(state: Any, claim: Claim) -> Any:
    cost, rate = claim.policy.cost, claim.rate
    return window.give_back(state, cost) if rate.strict else gcra.give_back(state, cost, rate)
