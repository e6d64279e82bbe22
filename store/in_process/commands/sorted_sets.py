"""Commands about sorted sets."""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from flotilla.store.in_process.arguments import SYNTAX, integer, pairs, real, span, word
from flotilla.store.in_process.database import Database
from flotilla.store.in_process.registry import command
from flotilla.store.in_process.replies import Error, Pairs, Reply
from flotilla.store.in_process.values import SortedSet

NOT_BOUND = "ERR min or max is not a float"
_FLAGS = {b"NX", b"XX", b"GT", b"LT", b"CH", b"INCR"}


def _read(db: Database, name: bytes) -> SortedSet:
    return db.keys.find(name, SortedSet) or SortedSet()


@command("ZADD", -4)
def zadd(db: Database, name: bytes, *given: bytes) -> Reply:
    words, flags = list(given), set[bytes]()
    while words and word(words[0]) in _FLAGS:
        flags.add(word(words.pop(0)))
    if not words or len(words) % 2:
        raise Error(SYNTAX)
    if b"NX" in flags and flags & {b"XX", b"GT", b"LT"}:
        text = "GT, LT, and/or NX" if flags & {b"GT", b"LT"} else "XX and NX"
        raise Error(f"ERR {text} options at the same time are not compatible")
    scored = [(real(score), member) for score, member in pairs(words)]
    if b"INCR" in flags and len(scored) > 1:
        raise Error("ERR INCR option supports a single increment-element pair")
    known = _read(db, name) if b"XX" in flags else db.keys.make(name, SortedSet)
    added = changed = 0
    for score, member in scored:
        before = known.scores.get(member)
        score += before or 0.0 if b"INCR" in flags else 0.0
        if _refused(before, score, flags):
            if b"INCR" in flags:
                return None
            continue
        added += before is None
        changed += before != score
        if before != score:
            known.put(member, score)
    db.keys.tidy(name)
    if b"INCR" in flags:
        return known.scores[scored[0][1]]
    return changed if b"CH" in flags else added


def _refused(before: float | None, score: float, flags: set[bytes]) -> bool:
    if before is None:
        return b"XX" in flags
    return (
        b"NX" in flags or (b"GT" in flags and score <= before) or (b"LT" in flags and score >= before)
    ) and before != score


@command("ZINCRBY", 4)
def zincrby(db: Database, name: bytes, by: bytes, member: bytes) -> Reply:
    return zadd(db, name, b"INCR", by, member)


@command("ZREM", -3)
def zrem(db: Database, name: bytes, *members: bytes) -> int:
    known = _read(db, name)
    gone = sum(known.remove(member) for member in members)
    db.keys.tidy(name)
    return gone


@command("ZSCORE", 3)
def zscore(db: Database, name: bytes, member: bytes) -> float | None:
    return _read(db, name).scores.get(member)


@command("ZMSCORE", -3)
def zmscore(db: Database, name: bytes, *members: bytes) -> list[float | None]:
    scores = _read(db, name).scores
    return [scores.get(member) for member in members]


@command("ZCARD", 2)
def zcard(db: Database, name: bytes) -> int:
    return len(_read(db, name))


@command("ZRANK", 3)
def zrank(db: Database, name: bytes, member: bytes) -> int | None:
    known = _read(db, name)
    score = known.scores.get(member)
    return None if score is None else bisect_left(known.order, (score, member))


@dataclass(frozen=True, slots=True)
class _Scores:
    """A range of scores; `(` before a bound leaves the bound out."""

    low: bytes
    high: bytes

    def __post_init__(self) -> None:
        for bound in (self.low, self.high):
            real(bound.removeprefix(b"("), NOT_BOUND)

    def of(self, known: SortedSet) -> tuple[int, int]:
        """The first place and the one after the last."""
        first, last = (float(bound.removeprefix(b"(")) for bound in (self.low, self.high))
        begin = _place(known, first, after=self.low.startswith(b"("))
        return begin, max(_place(known, last, after=not self.high.startswith(b"(")), begin)


def _place(known: SortedSet, score: float, *, after: bool) -> int:
    find = bisect_right if after else bisect_left
    return find(known.order, score, key=lambda entry: entry[0])


@command("ZCOUNT", 4)
def zcount(db: Database, name: bytes, low: bytes, high: bytes) -> int:
    begin, end = _Scores(low, high).of(_read(db, name))
    return end - begin


def _listed(found: list[tuple[float, bytes]], with_scores: bool) -> Reply:
    if not with_scores:
        return [member for _, member in found]
    return Pairs((member, score) for score, member in found)


def _options(options: tuple[bytes, ...]) -> tuple[bool, int, int]:
    """WITHSCORES, and the offset and count of LIMIT (below 0: all)."""
    words, with_scores, offset, count = list(options), False, 0, -1
    while words:
        option = word(words.pop(0))
        if option == b"WITHSCORES":
            with_scores = True
        elif option == b"LIMIT" and len(words) >= 2:
            offset, count = integer(words.pop(0)), integer(words.pop(0))
        else:
            raise Error(SYNTAX)
    return with_scores, offset, count


def _limited(found: list[tuple[float, bytes]], offset: int, count: int) -> list[tuple[float, bytes]]:
    if offset < 0:
        return []
    return found[offset:] if count < 0 else found[offset : offset + count]


@command("ZRANGEBYSCORE", -4)
def zrangebyscore(db: Database, name: bytes, low: bytes, high: bytes, *options: bytes) -> Reply:
    (with_scores, offset, count), scores = _options(options), _Scores(low, high)
    known = _read(db, name)
    begin, end = scores.of(known)
    return _listed(_limited(known.order[begin:end], offset, count), with_scores)


class _Members:
    """A range of members where all have one score, as Redis takes it: `-`, `+`, `[member` or `(member`."""

    def __init__(self, low: bytes, high: bytes) -> None:
        if any(not (bound in (b"-", b"+") or bound[:1] in (b"[", b"(")) for bound in (low, high)):
            raise Error("ERR min or max not valid string range item")
        self.low, self.high = low, high

    def of(self, known: SortedSet) -> tuple[int, int]:
        """Where it begins and ends in the order."""
        begin = self._place(known, self.low, after=self.low.startswith(b"("))
        return begin, max(self._place(known, self.high, after=not self.high.startswith(b"(")), begin)

    @staticmethod
    def _place(known: SortedSet, bound: bytes, *, after: bool) -> int:
        if bound in (b"-", b"+"):
            return 0 if bound == b"-" else len(known.order)
        find = bisect_right if after else bisect_left
        return find(known.order, bound[1:], key=lambda entry: entry[1])


def _by_members(db: Database, name: bytes, low: bytes, high: bytes, options: tuple[bytes, ...]) -> Reply:
    (with_scores, offset, count), members = _options(options), _Members(low, high)
    if with_scores:
        raise Error("ERR syntax error, WITHSCORES not supported in combination with BYLEX")
    known = _read(db, name)
    begin, end = members.of(known)
    return _listed(_limited(known.order[begin:end], offset, count), with_scores=False)


@command("ZREVRANGEBYSCORE", -4)
def zrevrangebyscore(db: Database, name: bytes, high: bytes, low: bytes, *options: bytes) -> Reply:
    (with_scores, offset, count), scores = _options(options), _Scores(low, high)
    known = _read(db, name)
    begin, end = scores.of(known)
    return _listed(_limited(known.order[begin:end][::-1], offset, count), with_scores)


@command("ZRANGE", -4)
def zrange(db: Database, name: bytes, start: bytes, stop: bytes, *options: bytes) -> Reply:
    chosen = {word(option) for option in options} & {b"REV", b"BYSCORE", b"BYLEX"}
    rest = tuple(option for option in options if word(option) not in chosen)
    if chosen == {b"BYLEX"}:
        return _by_members(db, name, start, stop, rest)
    if chosen == {b"BYSCORE"}:
        return zrangebyscore(db, name, start, stop, *rest)
    if chosen == {b"BYSCORE", b"REV"}:
        return zrevrangebyscore(db, name, start, stop, *rest)
    return _by_rank(db, name, start, stop, rest, reverse=b"REV" in chosen)


@command("ZREVRANGE", -4)
def zrevrange(db: Database, name: bytes, start: bytes, stop: bytes, *options: bytes) -> Reply:
    return _by_rank(db, name, start, stop, options, reverse=True)


def _by_rank(
    db: Database, name: bytes, start: bytes, stop: bytes, options: tuple[bytes, ...], *, reverse: bool
) -> Reply:
    if any(word(option) != b"WITHSCORES" for option in options):
        raise Error(SYNTAX)
    span(start, stop, 0)
    order = _read(db, name).order
    first, after = span(start, stop, len(order))
    return _listed((order[::-1] if reverse else order)[first:after], bool(options))


def _remove(db: Database, name: bytes, found: list[tuple[float, bytes]]) -> int:
    known = _read(db, name)
    for _, member in found:
        known.remove(member)
    db.keys.tidy(name)
    return len(found)


@command("ZREMRANGEBYRANK", 4)
def zremrangebyrank(db: Database, name: bytes, start: bytes, stop: bytes) -> int:
    span(start, stop, 0)
    order = _read(db, name).order
    first, after = span(start, stop, len(order))
    return _remove(db, name, order[first:after])


@command("ZREMRANGEBYSCORE", 4)
def zremrangebyscore(db: Database, name: bytes, low: bytes, high: bytes) -> int:
    scores, known = _Scores(low, high), _read(db, name)
    begin, end = scores.of(known)
    return _remove(db, name, known.order[begin:end])
