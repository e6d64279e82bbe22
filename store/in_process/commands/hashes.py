"""Commands about hashes."""

from flotilla.store.in_process.arguments import SYNTAX, in_range, integer, pairs, word
from flotilla.store.in_process.commands.keys import page, place
from flotilla.store.in_process.commands.strings import OVERFLOW
from flotilla.store.in_process.database import Database
from flotilla.store.in_process.registry import command
from flotilla.store.in_process.replies import OK, Error, Pairs, Reply, Status
from flotilla.store.in_process.values import Hash, some


def _read(db: Database, name: bytes) -> dict[bytes, bytes]:
    return db.keys.find(name, Hash) or {}


@command("HSET", -4)
def hset(db: Database, name: bytes, *flat: bytes) -> int:
    if len(flat) % 2:
        raise Error("ERR wrong number of arguments for 'hset' command")
    known = db.keys.make(name, Hash)
    before = len(known)
    known.update(pairs(flat))
    return len(known) - before


@command("HMSET", -4)
def hmset(db: Database, name: bytes, *flat: bytes) -> Status:
    hset(db, name, *flat)
    return OK


@command("HSETNX", 4)
def hsetnx(db: Database, name: bytes, field: bytes, value: bytes) -> int:
    if field in _read(db, name):
        return 0
    db.keys.make(name, Hash)[field] = value
    return 1


@command("HGET", 3)
def hget(db: Database, name: bytes, field: bytes) -> bytes | None:
    return _read(db, name).get(field)


@command("HMGET", -3)
def hmget(db: Database, name: bytes, *fields: bytes) -> list[bytes | None]:
    known = _read(db, name)
    return [known.get(field) for field in fields]


@command("HGETALL", 2)
def hgetall(db: Database, name: bytes) -> dict[bytes, bytes]:
    return dict(_read(db, name))


@command("HKEYS", 2)
def hkeys(db: Database, name: bytes) -> list[bytes]:
    return list(_read(db, name))


@command("HVALS", 2)
def hvals(db: Database, name: bytes) -> list[bytes]:
    return list(_read(db, name).values())


@command("HLEN", 2)
def hlen(db: Database, name: bytes) -> int:
    return len(_read(db, name))


@command("HEXISTS", 3)
def hexists(db: Database, name: bytes, field: bytes) -> int:
    return int(field in _read(db, name))


@command("HDEL", -3)
def hdel(db: Database, name: bytes, *fields: bytes) -> int:
    known = _read(db, name)
    gone = sum(known.pop(field, None) is not None for field in fields)
    db.keys.tidy(name)
    return gone


@command("HINCRBY", 4)
def hincrby(db: Database, name: bytes, field: bytes, number: bytes) -> int:
    by = integer(number)
    known = integer(_read(db, name).get(field, b"0"), "ERR hash value is not an integer")
    total = in_range(known + by, OVERFLOW)
    db.keys.make(name, Hash)[field] = b"%d" % total
    return total


@command("HRANDFIELD", -2)
def hrandfield(db: Database, name: bytes, *options: bytes) -> Reply:
    count = integer(options[0]) if options else 1
    if len(options) > 2 or (len(options) == 2 and word(options[1]) != b"WITHVALUES"):
        raise Error(SYNTAX)
    known = _read(db, name)
    chosen = some(known, count)
    if not options:
        return chosen[0] if chosen else None
    return Pairs((field, known[field]) for field in chosen) if len(options) == 2 else chosen


@command("HSCAN", -3)
def hscan(db: Database, name: bytes, cursor: bytes, *options: bytes) -> list[Reply]:
    begin, known = place(cursor), _read(db, name)
    following, fields = page(begin, list(known), options)
    return [following, [part for field in fields for part in (field, known[field])]]
