"""Commands about streams."""

from bisect import bisect_left, bisect_right

from flotilla.store.in_process.arguments import SYNTAX, integer, word
from flotilla.store.in_process.database import Database
from flotilla.store.in_process.registry import command
from flotilla.store.in_process.replies import Error, Reply
from flotilla.store.in_process.values import Id, Stream

WRONG_ID = "ERR Invalid stream ID specified as stream command argument"
NOT_ABOVE = "ERR The ID specified in XADD is equal or smaller than the target stream top item"
MOST = 2**64 - 1
_NOTHING = Stream()


def _id(text: bytes, sequence: int) -> Id:
    """An id; `sequence` is for one without a second part."""
    milliseconds, dash, number = text.partition(b"-")
    if not milliseconds.isdigit() or (dash and not number.isdigit()):
        raise Error(WRONG_ID)
    found = (int(milliseconds), int(number) if dash else sequence)
    if max(found) > MOST:
        raise Error(WRONG_ID)
    return found


def _text(number: Id) -> bytes:
    return b"%d-%d" % number


def _next(db: Database, last: Id) -> Id:
    now = (db.keys.now_ms, 0)
    return now if now > last else (last[0], last[1] + 1)


@command("XADD", -5)
def xadd(db: Database, name: bytes, *given: bytes) -> Reply:
    words, most, make = list(given), None, True
    while words and word(words[0]) in (b"MAXLEN", b"NOMKSTREAM"):
        if word(words.pop(0)) == b"NOMKSTREAM":
            make = False
        else:
            most = _length(words)
    asked = None if not words or words[0] == b"*" else _id(words[0], 0)
    if len(words) < 3 or len(words) % 2 == 0:
        raise Error("ERR wrong number of arguments for 'xadd' command")
    if asked == (0, 0):
        raise Error("ERR The ID specified in XADD must be greater than 0-0")
    stream = db.keys.find(name, Stream)
    if stream is None and not make:
        return None
    if asked is not None and asked <= (stream.last if stream is not None else (0, 0)):
        raise Error(NOT_ABOVE)
    stream = stream if stream is not None else db.keys.make(name, Stream)
    number = asked or _next(db, stream.last)
    stream.add(number, words[1:])
    if most is not None:
        stream.trim(most)
    return _text(number)


def _length(words: list[bytes]) -> int:
    """What follows MAXLEN. An approximate length is kept exactly."""
    if words and words[0] in (b"~", b"="):
        words.pop(0)
    if not words:
        raise Error(SYNTAX)
    length = integer(words.pop(0))
    if length < 0:
        raise Error("ERR The MAXLEN argument must be >= 0.")
    return length


@command("XTRIM", -4)
def xtrim(db: Database, name: bytes, *given: bytes) -> int:
    words = list(given)
    if word(words.pop(0)) != b"MAXLEN":
        raise Error(SYNTAX)
    length, stream = _length(words), db.keys.find(name, Stream)
    return 0 if stream is None else stream.trim(length)


@command("XLEN", 2)
def xlen(db: Database, name: bytes) -> int:
    stream = db.keys.find(name, Stream)
    return 0 if stream is None else len(stream)


def _first(stream: Stream, bound: bytes) -> int:
    if bound == b"-":
        return 0
    if bound == b"+":
        return len(stream)
    if bound.startswith(b"("):
        return bisect_right(stream.ids, _excluded(bound, 0, (MOST, MOST), "start"))
    return bisect_left(stream.ids, _id(bound, 0))


def _after(stream: Stream, bound: bytes) -> int:
    if bound == b"+":
        return len(stream)
    if bound == b"-":
        return 0
    if bound.startswith(b"("):
        return bisect_left(stream.ids, _excluded(bound, MOST, (0, 0), "end"))
    return bisect_right(stream.ids, _id(bound, MOST))


def _excluded(bound: bytes, sequence: int, edge: Id, which: str) -> Id:
    found = _id(bound[1:], sequence)
    if found == edge:
        raise Error(f"ERR invalid {which} ID for the interval")
    return found


def _range(db: Database, name: bytes, start: bytes, end: bytes, options: tuple[bytes, ...], *, reverse: bool) -> Reply:
    first, after = _first(_NOTHING, start), _after(_NOTHING, end)
    if options and (len(options) != 2 or word(options[0]) != b"COUNT"):
        raise Error(SYNTAX)
    count = max(integer(options[1]), 0) if options else None
    stream = db.keys.find(name, Stream)
    if stream is None:
        return []
    if count == 0:
        return None
    first, after = _first(stream, start), _after(stream, end)
    places = range(after - 1, first - 1, -1) if reverse else range(first, after)
    return [[_text(stream.ids[place]), list(stream.entries[place])] for place in places[:count]]


@command("XRANGE", -4)
def xrange(db: Database, name: bytes, start: bytes, end: bytes, *options: bytes) -> Reply:
    return _range(db, name, start, end, options, reverse=False)


@command("XREVRANGE", -4)
def xrevrange(db: Database, name: bytes, end: bytes, start: bytes, *options: bytes) -> Reply:
    return _range(db, name, start, end, options, reverse=True)


@command("XDEL", -3)
def xdel(db: Database, name: bytes, *ids: bytes) -> int:
    stream, gone = db.keys.find(name, Stream), 0
    if stream is None:
        return 0
    for number in [_id(text, 0) for text in ids]:
        if number in stream.ids:
            place = stream.ids.index(number)
            del stream.ids[place], stream.entries[place]
            gone += 1
    return gone
