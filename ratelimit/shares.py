"""What this process knows of the buckets in Redis, for when it must decide alone; and what it then owes them.

Each answer of Redis says how full a bucket is. An instance that decides alone has its share of the rate, and of what
was left at the last answer, less what Redis may be taking at the moment. So a Redis that goes away gives nobody a
second burst. What was admitted alone is a debt, which goes into Redis with the next question about the key. So a Redis
that comes back gives nobody one either. Only what the other instances admitted since the last answer is not known.
"""

import threading
import time
from collections.abc import Callable, Sequence

from flotilla.ratelimit.algorithms import gcra
from flotilla.ratelimit.algorithms.answers import Answer
from flotilla.ratelimit.algorithms.rates import TICKS, Rate
from flotilla.ratelimit.decisions import Claim
from flotilla.ratelimit.states import MAX_KEYS, Remembered, States

ASKING = 4_000_000  # µs: no question is under way for longer
GRAINS = 16  # pieces of time into which the period of a strict bucket is cut


class Share(Remembered):
    """One key. `asking` is the cost of the questions to Redis that are not answered yet."""

    __slots__ = ("asking", "asking_until")

    def __init__(self) -> None:
        super().__init__()
        self.asking = 0
        self.asking_until = 0

    def begin(self, now: int, cost: int) -> None:
        """Redis is asked."""
        self.asking = self.under_way(now) + cost
        self.asking_until = now + ASKING
        self.until = max(self.until, self.asking_until)

    def end(self, cost: int, over: int) -> None:
        """A question was answered or has failed; the bucket is full again at `over`, in µs."""
        self.asking = max(0, self.asking - cost)
        self.until = max(over, self.asking_until) if self.asking or self.shared else over

    def under_way(self, now: int) -> int:
        """The cost of what Redis may be taking at the moment."""
        return self.asking if now < self.asking_until else 0

    # What depends on the kind of rate

    def hear(self, now: int, answer: Answer, took: int, share: Rate, instances: int, debt: int) -> None:
        """Redis has answered: it has added the `debt`, and then taken `took`."""
        raise NotImplementedError

    def look(self, now: int, cost: int, share: Rate) -> Answer:
        """What this instance answers when it decides alone."""
        raise NotImplementedError

    def admit(self, now: int, cost: int, share: Rate) -> None:
        """A request was admitted alone, and Redis does not know of it."""
        raise NotImplementedError

    def hand_over(self, now: int, rate: Rate, instances: int) -> int:
        """The debt that Redis is to add: ticks of the whole rate, or requests. It is not owed here any more."""
        raise NotImplementedError

    def hand_back(self, now: int, debt: int, share: Rate, instances: int) -> None:
        """Redis may not have got a debt: it is owed here again."""
        raise NotImplementedError

    def over(self, share: Rate) -> int:
        """The µs at which the bucket is full again."""
        raise NotImplementedError


class Gcra(Share):
    """A GCRA bucket, in ticks of this process's clock. `told` is the time up to which Redis has it paid, with the debts
    that are on their way there (`handed`); `paid_until` is the same with what Redis does not know of."""

    __slots__ = ("handed", "paid_until", "told")

    def __init__(self) -> None:
        super().__init__()
        self.told = 0
        self.handed = 0
        self.paid_until = 0

    def hear(self, now: int, answer: Answer, took: int, share: Rate, instances: int, debt: int) -> None:
        self.handed = max(0, self.handed - debt * instances)
        told = (now + answer.reset) * TICKS + self.handed  # an answer does not contain what was handed over after it
        if self.shared:  # what Redis says of one of the keys says nothing of the others
            told = max(told, self.told)
        self.paid_until = told + self._owed(now)
        self.told = told  # the newest answer counts

    def look(self, now: int, cost: int, share: Rate) -> Answer:
        return gcra.take(self.paid_until, now * TICKS, cost, share)[0]

    def admit(self, now: int, cost: int, share: Rate) -> None:
        self.paid_until = max(self.paid_until, now * TICKS) + cost * share.interval

    def hand_over(self, now: int, rate: Rate, instances: int) -> int:
        debt = self._owed(now) // instances
        self.handed += debt * instances
        self.told = max(self.told, self.paid_until)
        return debt

    def hand_back(self, now: int, debt: int, share: Rate, instances: int) -> None:
        self.handed = max(0, self.handed - debt * instances)
        self.told -= debt * instances

    def over(self, share: Rate) -> int:
        return -(-max(self.told, self.paid_until) // TICKS)

    def _owed(self, now: int) -> int:
        """What Redis does not know of, in ticks of the share."""
        if self.paid_until <= self.told:
            return 0
        return max(0, self.paid_until - max(self.told, now * TICKS))


class Strict(Share):
    """A strict bucket: what was admitted here or must have been elsewhere, and how many requests are owed to Redis.

    `log` has (first moment in µs, how many) for each grain of time, a 16th of the period. So a request counts for up to
    one grain longer than it must, and never shorter.
    """

    __slots__ = ("log", "owed", "owed_until", "total")

    def __init__(self) -> None:
        super().__init__()
        self.log: tuple[tuple[int, int], ...] = ()
        self.total = 0
        self.owed = 0
        self.owed_until = 0

    def hear(self, now: int, answer: Answer, took: int, share: Rate, instances: int, debt: int) -> None:
        self._enter(now, took, share)
        elsewhere = share.count - min(share.count, answer.remaining // instances) - self.total
        if elsewhere > 0:  # when is not known: at the latest now
            self._enter(now, elsewhere, share)

    def look(self, now: int, cost: int, share: Rate) -> Answer:
        self._enter(now, 0, share)
        reset = _leaves(self.log[-1][0], share) - now if self.log else 0
        if self.total + cost <= share.count:
            return Answer(True, share.count - self.total - cost, 0, reset)
        retry = _leaves(self.log[0][0], share) - now if self.log else share.period_us
        return Answer(False, max(0, share.count - self.total), retry, reset)

    def admit(self, now: int, cost: int, share: Rate) -> None:
        self._enter(now, cost, share)
        self._owe(now, cost, share)

    def hand_over(self, now: int, rate: Rate, instances: int) -> int:
        debt = min(self.owed, rate.count) if now < self.owed_until else 0
        self.owed = 0
        return debt

    def hand_back(self, now: int, debt: int, share: Rate, instances: int) -> None:
        self._owe(now, debt, share)

    def over(self, share: Rate) -> int:
        return max(_leaves(self.log[-1][0], share) if self.log else 0, self.owed_until if self.owed else 0)

    def _owe(self, now: int, count: int, share: Rate) -> None:
        self.owed = (self.owed if now < self.owed_until else 0) + count
        self.owed_until = _leaves(now, share)

    def _enter(self, now: int, count: int, share: Rate) -> None:
        """Forget what has left the window, and add so many."""
        log = self.log
        while log and _leaves(log[0][0], share) <= now:
            self.total -= log[0][1]
            log = log[1:]
        if count and log and now < log[-1][0] + share.period_us // GRAINS:
            log = (*log[:-1], (log[-1][0], log[-1][1] + count))
        elif count:
            log = (*log, (now, count))
        self.log = log
        self.total += count


class Shares:
    """This process's knowledge of all keys that it has asked about, bounded as `States` are. Safe in threads.

    Call `ask` before Redis is asked, and then `hear` or `fail`.
    """

    def __init__(
        self,
        instances: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
        most: int = MAX_KEYS,
    ) -> None:
        self._instances = instances
        self._clock = clock
        self._states: States[Share] = States(most)
        self._lock = threading.Lock()

    def ask(self, claims: Sequence[Claim]) -> list[int]:
        """Redis is asked to take from these keys: gives the debts that it is to add to each before."""
        now, instances = self._now()
        debts = []
        with self._lock:
            for claim in claims:
                known = self._of(claim, now)
                debts.append(known.hand_over(now, claim.rate, instances))
                known.begin(now, claim.policy.cost)
        return debts

    def hear(
        self,
        claims: Sequence[Claim],
        debts: Sequence[int],
        answers: Sequence[Answer],
        *,
        taken: bool,
        admitted: bool,
    ) -> None:
        """Redis has answered: it has added the `debts`, and has `taken` from all keys or from none. `admitted`: the
        request was let through before the answer came."""
        now, instances = self._now()
        with self._lock:
            for claim, debt, answer in zip(claims, debts, answers, strict=True):
                known, share, cost = self._of(claim, now), claim.rate.shared_among(instances), claim.policy.cost
                took = cost if taken and answer.allowed else 0
                known.hear(now, answer, took, share, instances, debt)
                if admitted and not took:
                    known.admit(now, cost, share)
                known.end(cost, known.over(share))

    def fail(self, claims: Sequence[Claim], debts: Sequence[int], *, admitted: bool) -> None:
        """Redis will not answer: the `debts` are still owed, and so is the request if it was `admitted` meanwhile."""
        now, instances = self._now()
        with self._lock:
            for claim, debt in zip(claims, debts, strict=True):
                known, share, cost = self._of(claim, now), claim.rate.shared_among(instances), claim.policy.cost
                if debt:
                    known.hand_back(now, debt, share, instances)
                if admitted:
                    known.admit(now, cost, share)
                known.end(cost, known.over(share))

    def take(self, claims: Sequence[Claim], *, asked: bool = False) -> list[Answer]:
        """Each claim's answer from this instance's share, all or none.

        `asked`: Redis was asked about these claims and may still take from them; `hear` and `fail` will settle it.
        """
        now, instances = self._now()
        with self._lock:
            known = [self._of(claim, now) for claim in claims]
            shares = [claim.rate.shared_among(instances) for claim in claims]
            found = []
            for claim, one, share in zip(claims, known, shares, strict=True):
                cost = one.under_way(now) + (0 if asked else claim.policy.cost)
                found.append(one.look(now, max(cost, claim.policy.cost), share))
            granted = all(answer.allowed or claim.policy.shadow for claim, answer in zip(claims, found, strict=True))
            if granted and not asked:
                for claim, one, share, answer in zip(claims, known, shares, found, strict=True):
                    if answer.allowed:
                        one.admit(now, claim.policy.cost, share)
                        one.end(0, one.over(share))
        return found

    def _of(self, claim: Claim, now: int) -> Share:
        return self._states.of(claim, now, Strict if claim.rate.strict else Gcra)

    def _now(self) -> tuple[int, int]:
        return int(self._clock() * 1_000_000), max(1, self._instances())


def _leaves(entered: int, share: Rate) -> int:
    """The first µs at which what was entered then, or within a grain after it, does not count any more."""
    return entered + share.period_us + share.period_us // GRAINS + 1
