"""Bounded memory of buckets: one is forgotten when it is full again, and never before that.

A bucket that has fully recovered is the same as one that was never used, so forgetting it gives nobody more. When the
memory is full, a new key gets no bucket of its own: all such keys of one policy share one, which is stricter than their
own would be. Not safe in threads: its owners lock.
"""

import copy
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Generic, TypeVar

from flotilla.ratelimit.decisions import Claim

MAX_KEYS = 50_000  # about 400 bytes each
LOOKS = 100  # buckets that are tried for forgetting at each new key, so that no key waits for all of them


class Remembered:
    """What is kept for a key. `until`: the µs at which it means nothing any more; `shared`: several keys use it."""

    __slots__ = ("shared", "until")

    def __init__(self) -> None:
        self.until = 0
        self.shared = False


S = TypeVar("S", bound=Remembered)


class States(Generic[S]):
    """What is remembered by key; its owner changes it in place. Times are microseconds of the owner's clock."""

    def __init__(self, most: int = MAX_KEYS) -> None:
        self._most = most
        self._states: dict[str, S] = {}
        self._due: list[tuple[int, str]] = []  # a heap with one entry for each key; its time may be too early
        self._shared: dict[tuple[str, bool], S] = {}  # by policy and kind of rate

    def __len__(self) -> int:
        return len(self._states)

    def of(self, claim: Claim, now: int, new: Callable[[], S]) -> S:
        """What is remembered of a claim's key; made by `new` for a key that is not known."""
        known = self._states.get(claim.key)
        return self._begun(claim, now, new) if known is None else known

    def _begun(self, claim: Claim, now: int, new: Callable[[], S]) -> S:
        self._forget_due(now)
        name = (claim.policy.name, claim.rate.strict)
        shared = self._shared.get(name)
        if len(self._states) < self._most:
            state = new() if shared is None else copy.copy(shared)  # its key may have taken from the shared one
            state.shared = False
            self._states[claim.key] = state
            heappush(self._due, (now + 1, claim.key))  # by then its owner has set `until`
            return state
        if shared is None:  # decorators have policies too, which no list has: forget what has recovered
            self._shared = {one: state for one, state in self._shared.items() if state.until > now}
            shared = self._shared[name] = new()
            shared.shared = True
        return shared

    def _forget_due(self, now: int) -> None:
        for _ in range(LOOKS):
            if not self._due or self._due[0][0] > now:
                return
            _, key = heappop(self._due)
            until = self._states[key].until
            if until > now:
                heappush(self._due, (until, key))
            else:
                del self._states[key]
