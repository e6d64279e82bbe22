"""One instance and its Redis, whatever happens between them: what is admitted stays within the promise."""

from collections.abc import Sequence
from typing import Any

from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from flotilla.ops.load.overshoot import overshoot
from flotilla.ratelimit.algorithms import gcra, window
from flotilla.ratelimit.algorithms.answers import Answer
from flotilla.ratelimit.algorithms.rates import TICKS, Rate
from flotilla.ratelimit.decisions import Claim
from flotilla.ratelimit.shares import Shares
from tests.ratelimit.conftest import claim

IN_TIME, LATE, LOST, UNHEARD, AWAY = "in time", "late", "lost on the way back", "lost on the way there", "away"
rates = st.one_of(
    st.builds(Rate, st.integers(1, 50), st.just(1), st.integers(1, 20)), st.builds(Rate, st.integers(1, 30), st.just(1))
)
events = st.lists(
    st.tuples(
        st.sampled_from([IN_TIME, LATE, LOST, UNHEARD, AWAY]),
        st.one_of(st.integers(0, 3), st.integers(0, 400_000)),  # µs since the one before
        st.integers(0, 5),  # events until a late answer, or the loss, is known
    ),
    max_size=60,
)


class World:
    """A Redis of one key, and what is on its way from it."""

    def __init__(self, asked: Claim) -> None:
        self.asked = asked
        self.now = 1_000_000_000
        self.shares = Shares(lambda: 1, lambda: self.now / 1e6)
        self.admitted: list[int] = []
        self.coming: list[tuple[int, Any]] = []
        self._state: Any = () if asked.rate.strict else 0

    def take(self, debts: Sequence[int]) -> Answer:
        """As the script does."""
        rate, now = self.asked.rate, self.now
        if rate.strict:
            for _ in range(debts[0]):
                _, self._state = window.take(self._state, now, 1, rate)
            answer, self._state = window.take(self._state, now, 1, rate)
        else:
            full = rate.interval * rate.quota
            if debts[0]:
                self._state = min(max(self._state, now * TICKS) + debts[0], now * TICKS + full)
            answer, self._state = gcra.take(self._state, now * TICKS, 1, rate)
        return answer

    def happen(self, what: str, after: int) -> None:
        """One request, and what becomes of it."""
        claims = [self.asked]
        if what == AWAY:
            self._note(self.shares.take(claims)[0].allowed)
            return
        if what in (IN_TIME, LATE) and any(answer is None for _, (_, answer, _) in self.coming):
            self.arrive(0)  # a connection that lost something is over, and known to be, before there is another
        debts = self.shares.ask(claims)
        answer = self.take(debts) if what != UNHEARD else None
        if what == IN_TIME and answer is not None:
            self.arrive(0)  # answers come in their order
            self.shares.hear(claims, debts, [answer], taken=answer.allowed, admitted=False)
            self._note(answer.allowed)
            return
        admitted = self.shares.take(claims, asked=True)[0].allowed
        self._note(admitted)
        self.coming.append((after, (debts, answer if what == LATE else None, admitted)))

    def arrive(self, least: int) -> None:
        """What was on its way for long enough is there, and what came before it."""
        due = max((place for place, (left, _) in enumerate(self.coming, 1) if left <= least or not least), default=0)
        arrived, self.coming = self.coming[:due], [(left - 1, one) for left, one in self.coming[due:]]
        for _, (debts, answer, admitted) in arrived:
            if answer is None:
                self.shares.fail([self.asked], debts, admitted=admitted)
            else:
                self.shares.hear([self.asked], debts, [answer], taken=answer.allowed, admitted=admitted)

    def _note(self, admitted: bool) -> None:
        if admitted:
            self.admitted.append(self.now)


@hypothesis_settings(deadline=None)
@example(Rate(1, 1, 2), [(LATE, 0, 3), (AWAY, 0, 0), (LOST, 0, 0), (LATE, 0, 0)])  # a late answer, older than a debt
@given(rates, events)
def test_one_instance_never_admits_more_than_is_promised_whatever_becomes_of_its_questions(
    rate: Rate, happened: list[tuple[str, int, int]]
) -> None:
    asked = claim(str(rate))
    world = World(asked)
    for what, pause, after in happened:
        world.now += pause
        world.happen(what, after)
        world.arrive(1)
    assert overshoot(rate, world.admitted, world.admitted) == 0, world.admitted


@hypothesis_settings(deadline=None)
@given(rates, st.lists(st.integers(0, 400_000), max_size=40))
def test_one_instance_alone_admits_what_redis_would_but_for_a_grain(rate: Rate, pauses: list[int]) -> None:
    world = World(claim(str(rate)))
    alone = 0
    for pause in pauses:
        world.now += pause
        alone += world.shares.take([world.asked])[0].allowed
        world.take([0])
    if not rate.strict:
        other = World(world.asked)
        redis = 0
        for pause in pauses:
            other.now += pause
            redis += other.take([0]).allowed
        assert alone == redis
    else:
        assert alone >= min(len(pauses), rate.count)
