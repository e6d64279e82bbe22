"""The campaign's checker on doctored logs: each kind of violation is found where it was put, and nowhere else."""

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.checker import Limit, Rules, check, overshoot
from tests.chaos.log import (
    Acknowledged,
    Census,
    Closed,
    Delivered,
    Event,
    FaultBegan,
    FaultEnded,
    Ghosts,
    Granted,
    Health,
    Log,
    LogLine,
    Opened,
    Phase,
    Presence,
    Seen,
    Settled,
    Size,
    Subscribed,
    Told,
    Unanswered,
    Unsubscribed,
    load,
)

ROOM = "room:1"
RULES = Rules(limits={"flood": Limit(20.0, 40.0), "open": Limit(20.0, 40.0, free_while_away=True)})
ANN, BEN, WATCHER = 1, 2, 3
CLIENTS = {ANN: "client-ann", BEN: "client-ben", WATCHER: "client-watcher"}
COUNT = 60


def clean(seed: int = 0) -> list[Event]:
    """A campaign in which all went well: Ann stays, Ben loses his connection and recovers, a watcher sees both go."""
    chance = random.Random(seed)
    events: list[Event] = [
        Opened(0.1, ANN, "ann", CLIENTS[ANN]),
        Subscribed(0.2, ANN, ROOM, "e1", 0),
        Opened(0.1, BEN, "ben", CLIENTS[BEN]),
        Subscribed(0.2, BEN, ROOM, "e1~t", 0),
        Size(0.5, "one", 1, "before", 80 << 20, 40),
        FaultBegan(12.0, "link cut", "clients", True, False),
        FaultEnded(14.0, "link cut", "clients"),
        Closed(12.0, BEN, 1006),
        Opened(15.0, BEN + 10, "ben", "client-ben-again"),
    ]
    away = [n for n in range(1, COUNT + 1) if 12.0 <= _at(n) < 15.1]
    events.append(Subscribed(15.1, BEN + 10, ROOM, "e1", away[0] - 1, ("e1~t", away[0] - 1), True))
    for number in range(1, COUNT + 1):
        at = _at(number)
        events.append(Acknowledged(at, ROOM, 1000 + number, "e1", number, at - chance.uniform(0.01, 0.1)))
        events.append(Delivered(at + 0.01, ANN, ROOM, number, 1000 + number))
        ben = BEN if at < 12.0 else BEN + 10
        events.append(Delivered(max(at + 0.01, 15.2 if number in away else 0), ben, ROOM, number, 1000 + number))
    stored = [(number, 1000 + number) for number in range(1, COUNT + 1)]
    events += [
        Phase(60.0, "quiet"),
        Presence(61.0, ROOM, "one", [CLIENTS[ANN], "client-ben-again"], "present"),
        Census(62.1, ROOM, "e1", COUNT, 0, 62.0, stored),
        Opened(63.0, WATCHER, "watcher", CLIENTS[WATCHER]),
        Subscribed(63.1, WATCHER, ROOM, "e1", COUNT),
        Phase(64.0, "leaving"),
        Closed(64.1, ANN, 0),
        Seen(64.2, WATCHER, ROOM, CLIENTS[ANN], False),
        Unsubscribed(64.3, BEN + 10, ROOM),
        Seen(64.3, WATCHER, ROOM, "client-ben-again", False),
        Closed(64.4, BEN + 10, 0),
        Presence(65.0, ROOM, "one", [CLIENTS[WATCHER]], "left"),
        Phase(66.0, "left"),
        Closed(66.1, WATCHER, 0),
        Size(69.0, "one", 1, "after", 85 << 20, 38),
    ]
    events += [Granted(20 + n / 20, "flood", 20 + n / 20 - 0.01) for n in range(200)]
    events.sort(key=lambda event: event.at)
    return events


def _at(number: int) -> float:
    """When a publication was acknowledged."""
    return 1.0 + number * 0.5


def kinds(events: list[Event]) -> set[str]:
    """What the checker finds."""
    events.sort(key=lambda event: event.at)
    return {violation.kind for violation in check(events, RULES)}


Doctor = Callable[[list[Event]], None]


def _delivered(events: list[Event], conn: int, offset: int) -> Delivered:
    return next(e for e in events if isinstance(e, Delivered) and e.conn == conn and e.offset == offset)


def _missing(events: list[Event]) -> None:
    events.remove(_delivered(events, ANN, 7))


def _twice(events: list[Event]) -> None:
    one = _delivered(events, ANN, 7)
    events.append(dataclasses.replace(one, at=one.at + 0.001))


def _swapped(events: list[Event]) -> None:
    """One comes again, late and as another: an offset below where the subscription stands."""
    events.append(Delivered(_at(20) + 0.02, ANN, ROOM, 3, 4711))


def _other_payload(events: list[Event]) -> None:
    _delivered(events, ANN, 7).payload = 4711


def _given_again(events: list[Event]) -> None:
    """An offset that was acknowledged is acknowledged for another publication, in the same epoch."""
    events.append(Acknowledged(_at(9), ROOM, 4711, "e1", 7, _at(9) - 0.05))


def _published_twice(events: list[Event]) -> None:
    census = next(e for e in events if isinstance(e, Census))
    census.top += 1
    census.publications.append((COUNT + 1, 1007))


def _vanished(events: list[Event]) -> None:
    """History was begun anew though no fault loses: what a lie about a position did."""
    census = next(e for e in events if isinstance(e, Census))
    census.epoch, census.publications = "e2", []


def _one_lost(events: list[Event]) -> None:
    census = next(e for e in events if isinstance(e, Census))
    census.publications.remove((30, 1030))


def _deaf(events: list[Event]) -> None:
    """Ann gets nothing from the tenth on, and nobody tells her."""
    events[:] = [e for e in events if not (isinstance(e, Delivered) and e.conn == ANN and e.offset >= 10)]


def _recovered_without(events: list[Event]) -> None:
    """`recovered: true`, but what was missed never comes."""
    events[:] = [e for e in events if not (isinstance(e, Delivered) and e.conn == BEN + 10 and _at(e.offset) < 15.1)]


def _recovered_from_elsewhere(events: list[Event]) -> None:
    again = next(e for e in events if isinstance(e, Subscribed) and e.recovered)
    again.claimed = ("nobody's", again.offset)


def _recovered_beyond(events: list[Event]) -> None:
    """A claim beyond the top is believed."""
    again = next(e for e in events if isinstance(e, Subscribed) and e.recovered)
    again.claimed = ("e1", 10**9)


def _early(events: list[Event]) -> None:
    events.append(Delivered(0.15, ANN, ROOM, 1, 1001))


def _early_join(events: list[Event]) -> None:
    events.append(Seen(0.15, ANN, ROOM, "client-x", True))


def _late(events: list[Event]) -> None:
    events.append(Delivered(64.35, BEN + 10, ROOM, COUNT + 1, 4711))


def _late_after_told(events: list[Event]) -> None:
    events.append(Told(40.0, ANN, ROOM, 2500))
    events.append(Delivered(40.1, ANN, ROOM, COUNT + 1, 4711))


def _ghost(events: list[Event]) -> None:
    next(e for e in events if isinstance(e, Presence)).clients.append("client-ben")


def _absent(events: list[Event]) -> None:
    next(e for e in events if isinstance(e, Presence)).clients.remove(CLIENTS[ANN])


def _never_left(events: list[Event]) -> None:
    events.remove(next(e for e in events if isinstance(e, Seen)))


def _left_twice(events: list[Event]) -> None:
    one = next(e for e in events if isinstance(e, Seen))
    events.append(dataclasses.replace(one, at=one.at + 0.5))


def _joined_twice(events: list[Event]) -> None:
    events += [Seen(30.0, ANN, ROOM, "client-x", True), Seen(31.0, ANN, ROOM, "client-x", True)]


def _too_many(events: list[Event]) -> None:
    events += [Granted(25.0, "flood", 24.99) for _ in range(43)]


def _too_many_of_an_open_one(events: list[Event]) -> None:
    events += [Granted(25.0, "open", 24.99) for _ in range(43)]


def _not_buried(events: list[Event]) -> None:
    events.append(Ghosts(50.0, "one", 15.0, ["client-x"]))


def _hopeless(events: list[Event]) -> None:
    events.append(Health(50.0, "one", False, 20.0))


def _abandoned(events: list[Event]) -> None:
    events.append(Settled(50.0, 20.0, ["ann"]))


def _silence(events: list[Event]) -> None:
    events.append(Unanswered(50.0, ANN, "subscribe", 45.0, True))


def _terminal(events: list[Event]) -> None:
    next(e for e in events if isinstance(e, Closed) and e.conn == ANN).code = 3501


def _traceback(events: list[Event]) -> None:
    events.append(LogLine(50.0, "one", "Traceback (most recent call last):"))


def _fat(events: list[Event]) -> None:
    next(e for e in events if isinstance(e, Size) and e.moment == "after").memory = 120 << 20


def _leaking(events: list[Event]) -> None:
    next(e for e in events if isinstance(e, Size) and e.moment == "after").files = 80


DOCTORED: dict[str, tuple[Doctor, str, set[str]]] = {  # name: (what was done, what it is, what may follow from it)
    "a publication is missing": (_missing, "gap", {"deaf"}),
    "a publication comes twice": (_twice, "duplicate", set()),
    "an offset goes back": (_swapped, "reorder", {"changed"}),
    "a delivery is another publication": (_other_payload, "changed", {"deaf"}),
    "an offset is acknowledged twice": (_given_again, "changed", {"deaf", "lost"}),
    "a publication has two offsets": (_published_twice, "doubled", set()),
    "history vanished": (_vanished, "lost", set()),
    "one acknowledged is not in history": (_one_lost, "lost", set()),
    "a subscriber is deaf": (_deaf, "deaf", set()),
    "recovered without what was missed": (_recovered_without, "untrue recovery", {"deaf"}),
    "recovered from an epoch of nobody": (_recovered_from_elsewhere, "untrue recovery", {"changed"}),
    "recovered from beyond the top": (_recovered_beyond, "untrue recovery", {"reorder"}),
    "a publication before the reply": (_early, "before reply", set()),
    "a join before the reply": (_early_join, "before reply", set()),
    "a publication after unsubscribing": (_late, "after end", set()),
    "a publication after 2500": (_late_after_told, "after end", {"presence", "joins"}),
    "a ghost": (_ghost, "presence", set()),
    "somebody absent": (_absent, "presence", set()),
    "no leave": (_never_left, "joins", set()),
    "two leaves": (_left_twice, "joins", set()),
    "two joins": (_joined_twice, "joins", set()),
    "a limit grants too much": (_too_many, "limit", set()),
    "an open limit grants too much while Redis is there": (_too_many_of_an_open_one, "limit", set()),
    "who was killed is present": (_not_buried, "presence", set()),
    "an instance is not ready any more": (_hopeless, "not ready", set()),
    "somebody does not come back": (_abandoned, "not back", set()),
    "a command is not answered": (_silence, "unanswered", set()),
    "a connection is ended for good": (_terminal, "ended for good", set()),
    "an unhandled error": (_traceback, "log", set()),
    "memory does not come back": (_fat, "memory", set()),
    "files do not come back": (_leaking, "files", set()),
}


@given(st.integers(0, 10_000))
def test_a_clean_log_has_no_violation(seed: int) -> None:
    assert check(clean(seed), RULES) == []


@pytest.mark.parametrize("name", DOCTORED)
def test_what_was_put_into_a_log_is_found(name: str) -> None:
    doctor, kind, others = DOCTORED[name]
    events = clean()
    doctor(events)
    found = kinds(events)
    assert kind in found
    assert found <= {kind} | others


@given(st.integers(2, COUNT - 1), st.sampled_from((ANN, BEN)))
def test_no_missing_publication_goes_unseen(offset: int, reader: int) -> None:
    events = clean()
    conn = ANN if reader == ANN else next(c for c in (BEN, BEN + 10) if _has(events, c, offset))
    events.remove(_delivered(events, conn, offset))
    again = next(e for e in events if isinstance(e, Subscribed) and e.recovered)
    if conn == BEN and again.claimed == ("e1~t", offset):  # he says where he stands, not where he stood before
        again.claimed = ("e1~t", offset - 1)
    assert kinds(events) & {"gap", "untrue recovery", "deaf"}


def _has(events: list[Event], conn: int, offset: int) -> bool:
    return any(isinstance(e, Delivered) and e.conn == conn and e.offset == offset for e in events)


@given(st.permutations(range(1, 9)))
def test_every_wrong_order_is_seen(order: list[int]) -> None:
    events = clean()
    times = {number: _delivered(events, ANN, number).at for number in range(1, 9)}
    found = {number: _delivered(events, ANN, number) for number in range(1, 9)}
    for position, number in enumerate(order, 1):
        found[number].at = times[position]
    assert bool(kinds(events)) == (list(order) != list(range(1, 9)))


def test_who_was_told_of_a_loss_has_no_gap() -> None:
    """Redis came back empty: 2500, a new epoch, the same offsets again with other publications, and all is well."""
    events = [e for e in clean() if e.at < 40.0 and not isinstance(e, Granted)]
    events += [
        FaultBegan(40.0, "redis empty", "servers", False, True),
        Acknowledged(40.05, ROOM, 5000, "e1", COUNT + 1, 40.01),  # and lost again
        FaultEnded(41.0, "redis empty", "servers"),
        *(Told(41.5, conn, ROOM, 2500) for conn in (ANN, BEN + 10)),
        *(Subscribed(41.6, conn, ROOM, "e2", 0, ("e1", 40), False) for conn in (ANN, BEN + 10)),
        Acknowledged(50.0, ROOM, 6000, "e2", 1, 49.9),
        *(Delivered(50.0, conn, ROOM, 1, 6000) for conn in (ANN, BEN + 10)),
        Census(70.0, ROOM, "e2", 1, 0, 69.9, [(1, 6000)]),
    ]
    assert kinds(events) == set()


def test_who_was_not_told_of_a_loss_is_found() -> None:
    """The same, but Ann is left where she was: deaf to the new epoch."""
    events = [e for e in clean() if e.at < 40.0 and not isinstance(e, Granted)]
    events += [
        FaultBegan(40.0, "redis empty", "servers", False, True),
        FaultEnded(41.0, "redis empty", "servers"),
        Acknowledged(50.0, ROOM, 6000, "e2", 1, 49.9),
        Phase(80.0, "end"),
    ]
    assert kinds(events) == {"deaf"}


def test_an_offset_given_again_after_a_loss_is_found_though_it_was_allowed_to_lose() -> None:
    events = [e for e in clean() if e.at < 40.0 and not isinstance(e, Granted | Delivered)]
    events += [
        FaultBegan(40.0, "redis older", "servers", False, True),
        FaultEnded(41.0, "redis older", "servers"),
        Acknowledged(41.5, ROOM, 6000, "e1", 60, 41.4),
        Acknowledged(41.6, ROOM, 6001, "e1", 60, 41.5),
    ]
    assert "changed" in kinds(events)


def test_a_limit_that_is_open_without_redis_may_let_through_what_it_likes_then() -> None:
    events = clean()
    events += [FaultBegan(24.0, "hung", "servers", True, True, away=True), FaultEnded(27.0, "hung", "servers")]
    _too_many_of_an_open_one(events)
    assert kinds(events) == set()


def test_a_slow_answer_is_no_overshoot() -> None:
    """41 granted at once and answered late may have been decided at any time until then."""
    assert overshoot([(0.0, 5.0)] * 41, 20.0, 40.0) <= 0
    assert overshoot([(0.0, 0.0)] * 41, 20.0, 40.0) == 1


@given(st.lists(st.floats(0, 30), min_size=1, max_size=300), st.integers(1, 40), st.integers(1, 50))
def test_a_bucket_that_is_kept_to_is_never_called_overshot(times: list[float], rate: int, burst: int) -> None:
    level, last, granted = float(burst), 0.0, []
    for at in sorted(times):
        level, last = min(float(burst), level + (at - last) * rate), at
        if level >= 1:
            level -= 1
            granted.append((at, at))
    assert overshoot(granted, rate, burst) < 1e-6


def test_the_guarantees_name_every_kind_of_violation() -> None:
    guarantees = (Path(__file__).parents[2] / "docs" / "GUARANTEES.md").read_text()
    assert [kind for _, kind, _ in DOCTORED.values() if f"`{kind}`" not in guarantees] == []


def test_a_log_can_be_kept_and_read_again(tmp_path: Path) -> None:
    log = Log(clean())
    log.save(tmp_path / "events.jsonl")
    assert load(tmp_path / "events.jsonl") == list(log)
