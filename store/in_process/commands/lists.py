"""Commands about lists. Waiting for one (BLPOP) is a matter of the connection."""

from itertools import islice

from flotilla.store.in_process.arguments import integer, span
from flotilla.store.in_process.database import Database
from flotilla.store.in_process.registry import command
from flotilla.store.in_process.replies import OK, Error, Reply, Status
from flotilla.store.in_process.values import List


@command("RPUSH", -3)
def rpush(db: Database, name: bytes, *elements: bytes) -> int:
    known = db.keys.make(name, List)
    known.extend(elements)
    db.pushed.add(name)
    return len(known)


@command("LPUSH", -3)
def lpush(db: Database, name: bytes, *elements: bytes) -> int:
    known = db.keys.make(name, List)
    known.extendleft(elements)
    db.pushed.add(name)
    return len(known)


def _pop(db: Database, name: bytes, count: tuple[bytes, ...], *, left: bool) -> Reply:
    wanted = integer(count[0], "ERR value is out of range, must be positive") if count else 1
    if wanted < 0:
        raise Error("ERR value is out of range, must be positive")
    known = db.keys.find(name, List)
    if known is None:
        return None
    found = [known.popleft() if left else known.pop() for _ in range(min(wanted, len(known)))]
    db.keys.tidy(name)
    return found if count else found[0]


@command("LPOP", -2)
def lpop(db: Database, name: bytes, *count: bytes) -> Reply:
    return _pop(db, name, count, left=True)


@command("RPOP", -2)
def rpop(db: Database, name: bytes, *count: bytes) -> Reply:
    return _pop(db, name, count, left=False)


@command("LLEN", 2)
def llen(db: Database, name: bytes) -> int:
    return len(db.keys.find(name, List) or ())


@command("LRANGE", 4)
def lrange(db: Database, name: bytes, start: bytes, stop: bytes) -> list[bytes]:
    span(start, stop, 0)
    known = db.keys.find(name, List) or ()
    first, after = span(start, stop, len(known))
    return list(islice(known, first, after))


@command("LTRIM", 4)
def ltrim(db: Database, name: bytes, start: bytes, stop: bytes) -> Status:
    kept = lrange(db, name, start, stop)
    known = db.keys.find(name, List)
    if known is not None:
        known.clear()
        known.extend(kept)
        db.keys.tidy(name)
    return OK
