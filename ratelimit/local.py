"""Limits decided in this process: those of one connection, and shares of the others while Redis is away.

All or nothing over the claims given together. Bounded: the keys used longest ago are forgotten first.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from ratelimit import gcra, window
from ratelimit.answers import Answer
from ratelimit.decisions import Claim
from ratelimit.rates import TICKS

MOST_KEYS = 10_000


class LocalBuckets:
    """States by key, on the process's own clock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, most: int = MOST_KEYS) -> None:
        self._clock = clock
        self._most = most
        self._states: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, claims: Sequence[Claim]) -> list[Answer]:
        """Each claim's answer; taken from all, or from none when one that is not a shadow denies."""
        now = int(self._clock() * 1_000_000)
        with self._lock:
            found = [self._look(claim, now) for claim in claims]
            if all(answer.allowed or claim.policy.shadow for claim, (answer, _) in zip(claims, found, strict=True)):
                for claim, (answer, state) in zip(claims, found, strict=True):
                    if answer.allowed:
                        self._keep(claim.key, state)
        return [answer for answer, _ in found]

    def give_back(self, claims: Sequence[Claim], answers: Sequence[Answer]) -> None:
        """Undo what `take` took: another limit denied the request."""
        with self._lock:
            for claim, answer in zip(claims, answers, strict=True):
                state = self._states.get(claim.key)
                if answer.allowed and state is not None:
                    cost = claim.policy.cost
                    if claim.rate.strict:
                        self._states[claim.key] = window.give_back(state, cost)
                    else:
                        self._states[claim.key] = gcra.give_back(state, cost, claim.rate)

    def _look(self, claim: Claim, now: int) -> tuple[Answer, Any]:
        if claim.rate.strict:
            return window.take(self._states.get(claim.key, ()), now, claim.policy.cost, claim.rate)
        return gcra.take(self._states.get(claim.key, 0), now * TICKS, claim.policy.cost, claim.rate)

    def _keep(self, key: str, state: Any) -> None:
        self._states[key] = state
        self._states.move_to_end(key)
        if len(self._states) > self._most:
            self._states.popitem(last=False)
