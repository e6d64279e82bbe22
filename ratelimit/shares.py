"""What this process knows of the buckets in Redis, for when it must decide alone; and what it then owes them.

Each answer of Redis says where a bucket stands. Alone, an instance has its share of the rate, and of what was left
when it last heard of the bucket, less what Redis may be taking just now: going over to it gives no second burst. What
was admitted alone is owed, and goes into Redis with the next question about the key: coming back gives none either.
Unknown is only what the others have admitted since this process last heard of the key.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from ratelimit import gcra, window
from ratelimit.answers import Answer
from ratelimit.decisions import Claim
from ratelimit.rates import TICKS, Rate
from ratelimit.states import MOST_KEYS, States

ASKING = 4_000_000  # µs: no question is under way for longer


class Gcra(NamedTuple):
    """A GCRA bucket in ticks of this process's clock: `told` is what Redis has, `paid_until` adds what it has not."""

    told: int = 0
    paid_until: int = 0

    def heard(self, now: int, answer: Answer, took: int, share: Rate, instances: int) -> "Gcra":
        """After an answer of Redis, which `took` so much. The newest counts."""
        told = (now + answer.reset) * TICKS
        return Gcra(told, told + self._owed(now))

    def look(self, now: int, cost: int, share: Rate) -> Answer:
        """What this instance alone answers."""
        return gcra.take(self.paid_until, now * TICKS, cost, share)[0]

    def admitted(self, now: int, cost: int, share: Rate) -> "Gcra":
        """After what was admitted alone, and Redis does not have."""
        return Gcra(self.told, max(self.paid_until, now * TICKS) + cost * share.interval)

    def debt(self, now: int, rate: Rate, instances: int) -> int:
        """What Redis is to enter: ticks of the whole rate."""
        return self._owed(now) // instances

    def handed_over(self) -> "Gcra":
        """Redis is given what it is owed."""
        return Gcra(max(self.told, self.paid_until), self.paid_until)

    def handed_back(self, now: int, debt: int, share: Rate, instances: int) -> "Gcra":
        """It may not have got it."""
        return Gcra(self.told - debt * instances, self.paid_until)

    def over(self, share: Rate) -> int:
        """The µs at which the bucket is full again."""
        return -(-max(self.told, self.paid_until) // TICKS)

    def _owed(self, now: int) -> int:
        if self.paid_until == self.told:
            return 0
        return max(0, self.paid_until - now * TICKS) - max(0, self.told - now * TICKS)


class Strict(NamedTuple):
    """A strict bucket: the log of what was admitted here, or must have been elsewhere, and how many Redis is owed."""

    log: window.Log = ()
    owed: int = 0
    owed_until: int = 0

    def heard(self, now: int, answer: Answer, took: int, share: Rate, instances: int) -> "Strict":
        """As Gcra's. What is missing in the log was admitted elsewhere, no later than now."""
        log = window.enter(self.log, now, took, share) if took else self.log
        used = share.count - min(share.count, answer.remaining // instances)
        missing = used - window.taken(window.live_at(log, now, share))
        return self._replace(log=window.enter(log, now, missing, share) if missing > 0 else log)

    def look(self, now: int, cost: int, share: Rate) -> Answer:
        """As Gcra's."""
        return window.take(self.log, now, cost, share)[0]

    def admitted(self, now: int, cost: int, share: Rate) -> "Strict":
        """As Gcra's."""
        owed = self.owed if now < self.owed_until else 0
        return Strict(window.enter(self.log, now, cost, share), owed + cost, _leaves(now, share))

    def debt(self, now: int, rate: Rate, instances: int) -> int:
        """What Redis is to enter: requests."""
        return min(self.owed, rate.count) if now < self.owed_until else 0

    def handed_over(self) -> "Strict":
        """As Gcra's."""
        return self._replace(owed=0)

    def handed_back(self, now: int, debt: int, share: Rate, instances: int) -> "Strict":
        """As Gcra's."""
        return self._replace(owed=self.owed + debt, owed_until=_leaves(now, share))

    def over(self, share: Rate) -> int:
        """As Gcra's."""
        return max(_leaves(self.log[-1][0], share) if self.log else 0, self.owed_until)


class Share(NamedTuple):
    """One key: its bucket, and the cost of the questions that are under way, which no answer has told of yet."""

    bucket: Gcra | Strict
    asking: int = 0
    asking_until: int = 0

    def under_way(self, now: int) -> int:
        """The cost of what Redis may be taking."""
        return self.asking if now < self.asking_until else 0

    def asked(self, now: int, cost: int) -> "Share":
        """One question more, or (below 0) less."""
        return Share(self.bucket, max(0, self.under_way(now) + cost), now + ASKING if cost > 0 else self.asking_until)

    def over(self, now: int, share: Rate) -> int:
        """The µs at which there is nothing to be remembered."""
        return max(self.bucket.over(share), self.asking_until if self.under_way(now) else 0)


class Shares:
    """This process's knowledge of all keys that it has asked about, bounded as `States` are. Safe in threads.

    Whoever asks Redis says so with `ask`, and how it went with `hear` or `fail`.
    """

    def __init__(
        self,
        instances: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
        most: int = MOST_KEYS,
    ) -> None:
        self._instances = instances
        self._clock = clock
        self._states: States[Share] = States(most)
        self._lock = threading.Lock()

    def ask(self, claims: Sequence[Claim]) -> list[int]:
        """Redis is asked to take from these keys; what it is to enter in each before."""
        debts = []
        with self._lock:
            for claim, known, share, now, instances in self._each(claims):
                debt = known.bucket.debt(now, claim.rate, instances)
                bucket = known.bucket.handed_over() if debt else known.bucket
                self._keep(claim, known._replace(bucket=bucket).asked(now, claim.policy.cost), share, now)
                debts.append(debt)
        return debts

    def hear(self, claims: Sequence[Claim], answers: Iterable[Answer], *, taken: bool, admitted: bool) -> None:
        """Redis has answered, and has `taken` from all or none; `admitted` says that it was decided alone meanwhile."""
        with self._lock:
            for (claim, known, share, now, instances), answer in zip(self._each(claims), answers, strict=True):
                cost = claim.policy.cost
                took = cost if taken and answer.allowed else 0
                bucket = known.bucket.heard(now, answer, took, share, instances)
                if claim not in self._states:
                    bucket = _later(bucket, known.bucket)
                if admitted and not took:
                    bucket = bucket.admitted(now, cost, share)
                self._keep(claim, known._replace(bucket=bucket).asked(now, -cost), share, now)

    def fail(self, claims: Sequence[Claim], debts: Sequence[int], *, admitted: bool) -> None:
        """Redis will not answer: what it was to enter is still owed, and what was `admitted` alone meanwhile."""
        with self._lock:
            for (claim, known, share, now, instances), debt in zip(self._each(claims), debts, strict=True):
                bucket = known.bucket.handed_back(now, debt, share, instances) if debt else known.bucket
                if admitted:
                    bucket = bucket.admitted(now, claim.policy.cost, share)
                self._keep(claim, known._replace(bucket=bucket).asked(now, -claim.policy.cost), share, now)

    def take(self, claims: Sequence[Claim], *, asked: bool = False) -> list[Answer]:
        """Each claim's answer from this instance's share, all or none.

        `asked`: Redis was asked about these claims and may still take from them; `hear` and `fail` will settle it.
        """
        with self._lock:
            found = []
            for claim, known, share, now, _ in self._each(claims):
                cost = known.under_way(now) + (0 if asked else claim.policy.cost)
                found.append(known.bucket.look(now, max(cost, claim.policy.cost), share))
            granted = all(answer.allowed or claim.policy.shadow for claim, answer in zip(claims, found, strict=True))
            if granted and not asked:
                for (claim, known, share, now, _), answer in zip(self._each(claims), found, strict=True):
                    if answer.allowed:
                        bucket = known.bucket.admitted(now, claim.policy.cost, share)
                        self._keep(claim, known._replace(bucket=bucket), share, now)
        return found

    def _each(self, claims: Sequence[Claim]) -> Iterator[tuple[Claim, Share, Rate, int, int]]:
        now, instances = int(self._clock() * 1_000_000), max(1, self._instances())
        for claim in claims:
            known = self._states.get(claim) or Share(Strict() if claim.rate.strict else Gcra())
            yield claim, known, claim.rate.shared_among(instances), now, instances

    def _keep(self, claim: Claim, state: Share, share: Rate, now: int) -> None:
        self._states.keep(claim, state, state.over(now, share), now)


def _later(bucket: Gcra | Strict, known: Gcra | Strict) -> Gcra | Strict:
    """For a bucket that several keys share: what Redis says of one of them says nothing of the others."""
    if isinstance(bucket, Gcra) and isinstance(known, Gcra):
        return Gcra(max(bucket.told, known.told), max(bucket.paid_until, known.paid_until))
    return bucket


def _leaves(entered: int, share: Rate) -> int:
    """The first µs at which what was entered then does not count any more."""
    return entered + share.grain + share.period_us + 1
