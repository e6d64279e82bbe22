"""Bounded memory of bucket states: a state is forgotten when its bucket is full again, and never before that.

A bucket that has fully recovered is the same as one that was never used, so forgetting it gives nobody anything. At the
bound a new key gets no state of its own: all such keys of one policy share one bucket, which errs on the strict side.
Not safe in threads: its owners lock.
"""

from heapq import heappop, heappush
from typing import Generic, TypeVar

from ratelimit.decisions import Claim

MOST_KEYS = 50_000  # about 400 bytes each
LOOKS = 100  # at states that may be over, for each new key: no key pays for all of them

S = TypeVar("S")


class States(Generic[S]):
    """States by key, each until its time. Times are microseconds of the owner's clock."""

    def __init__(self, most: int = MOST_KEYS) -> None:
        self._most = most
        self._states: dict[str, tuple[int, S]] = {}  # key → (until, state)
        self._due: list[tuple[int, str]] = []  # a heap with one entry for each key; its time may be too early
        self._shared: dict[tuple[str, bool], tuple[int, S]] = {}  # policy, kind of rate → (until, state)

    def __len__(self) -> int:
        return len(self._states)

    def __contains__(self, claim: Claim) -> bool:
        """Whether a claim's key has a state of its own."""
        return claim.key in self._states

    def get(self, claim: Claim) -> S | None:
        """The state of a claim's key, None when it is as good as new."""
        found = self._states.get(claim.key)
        if found is None and self._shared:
            found = self._shared.get((claim.policy.name, claim.rate.strict))  # it may have taken from there
        return None if found is None else found[1]

    def keep(self, claim: Claim, state: S, until: int, now: int) -> None:
        """Remember a state until its bucket is full again."""
        if claim.key not in self._states:
            self._forget_due(now)
            if len(self._states) >= self._most:
                self._share(claim, state, until, now)
                return
            heappush(self._due, (until, claim.key))
        self._states[claim.key] = (until, state)

    def change(self, claim: Claim, state: S) -> None:
        """Replace a state that is there by one that is over no later."""
        name = (claim.policy.name, claim.rate.strict)
        if claim.key in self._states:
            self._states[claim.key] = (self._states[claim.key][0], state)
        elif name in self._shared:
            self._shared[name] = (self._shared[name][0], state)

    def _forget_due(self, now: int) -> None:
        for _ in range(LOOKS):
            if not self._due or self._due[0][0] > now:
                return
            _, key = heappop(self._due)
            until = self._states[key][0]
            if until > now:
                heappush(self._due, (until, key))
            else:
                del self._states[key]

    def _share(self, claim: Claim, state: S, until: int, now: int) -> None:
        name = (claim.policy.name, claim.rate.strict)
        known = self._shared.get(name)
        if known is None:  # policies of decorators come from code: few, but nobody lists them
            self._shared = {one: found for one, found in self._shared.items() if found[0] > now}
        self._shared[name] = (until if known is None else max(until, known[0]), state)
