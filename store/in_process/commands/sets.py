"""Commands about sets."""

from flotilla.store.in_process.arguments import integer
from flotilla.store.in_process.commands.keys import page, place
from flotilla.store.in_process.database import Database
from flotilla.store.in_process.registry import command
from flotilla.store.in_process.replies import Reply
from flotilla.store.in_process.values import Set, some


def _read(db: Database, name: bytes) -> dict[bytes, None]:
    return db.keys.find(name, Set) or {}


@command("SADD", -3)
def sadd(db: Database, name: bytes, *members: bytes) -> int:
    known = db.keys.make(name, Set)
    before = len(known)
    known.update(dict.fromkeys(members))
    return len(known) - before


@command("SREM", -3)
def srem(db: Database, name: bytes, *members: bytes) -> int:
    known = _read(db, name)
    before = len(known)
    for member in members:
        known.pop(member, None)
    gone = before - len(known)
    db.keys.tidy(name)
    return gone


@command("SMEMBERS", 2)
def smembers(db: Database, name: bytes) -> frozenset[bytes]:
    return frozenset(_read(db, name))


@command("SISMEMBER", 3)
def sismember(db: Database, name: bytes, member: bytes) -> int:
    return int(member in _read(db, name))


@command("SCARD", 2)
def scard(db: Database, name: bytes) -> int:
    return len(_read(db, name))


@command("SRANDMEMBER", -2)
def srandmember(db: Database, name: bytes, *count: bytes) -> Reply:
    wanted = integer(count[0]) if count else 1
    chosen = some(_read(db, name), wanted)
    if count:
        return chosen
    return chosen[0] if chosen else None


@command("SSCAN", -3)
def sscan(db: Database, name: bytes, cursor: bytes, *options: bytes) -> list[Reply]:
    following, members = page(place(cursor), list(_read(db, name)), options)
    return [following, members]
