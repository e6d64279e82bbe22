"""Commands about keys as such: whether they are there, when they end, which there are."""

from zlib import crc32

from flotilla.store.in_process.arguments import SYNTAX, integer, pattern, word
from flotilla.store.in_process.database import Database
from flotilla.store.in_process.registry import command
from flotilla.store.in_process.replies import OK, Error, Reply, Status


@command("DEL", -2)
@command("UNLINK", -2)
def delete(db: Database, *names: bytes) -> int:
    return sum(name in db.keys and db.keys.drop(name) for name in names)


@command("EXISTS", -2)
def exists(db: Database, *names: bytes) -> int:
    return sum(name in db.keys for name in names)


@command("TYPE", 2)
def kind(db: Database, name: bytes) -> Status:
    return Status(db.keys.kind_of(name))


def _end(db: Database, name: bytes, moment: int, options: tuple[bytes, ...]) -> int:
    if name not in db.keys:
        return 0
    known, asked = db.keys.ends(name), {word(option) for option in options}
    if not asked <= {b"NX", b"XX", b"GT", b"LT"}:
        raise Error(f"ERR Unsupported option {options[0].decode(errors='replace')}")
    refused = (
        (b"NX" in asked and known is not None)
        or (b"XX" in asked and known is None)
        or (b"GT" in asked and (known is None or moment <= known))
        or (b"LT" in asked and known is not None and moment >= known)
    )
    if not refused:
        db.keys.end_at(name, moment)
    return int(not refused)


@command("EXPIRE", -3)
def expire(db: Database, name: bytes, seconds: bytes, *options: bytes) -> int:
    return _end(db, name, db.keys.now_ms + integer(seconds) * 1000, options)


@command("PEXPIRE", -3)
def pexpire(db: Database, name: bytes, milliseconds: bytes, *options: bytes) -> int:
    return _end(db, name, db.keys.now_ms + integer(milliseconds), options)


@command("EXPIREAT", -3)
def expireat(db: Database, name: bytes, seconds: bytes, *options: bytes) -> int:
    return _end(db, name, integer(seconds) * 1000, options)


@command("PEXPIREAT", -3)
def pexpireat(db: Database, name: bytes, milliseconds: bytes, *options: bytes) -> int:
    return _end(db, name, integer(milliseconds), options)


@command("PERSIST", 2)
def persist(db: Database, name: bytes) -> int:
    if name not in db.keys or db.keys.ends(name) is None:
        return 0
    db.keys.end_at(name, None)
    return 1


@command("PTTL", 2)
def pttl(db: Database, name: bytes) -> int:
    if name not in db.keys:
        return -2
    ends = db.keys.ends(name)
    return -1 if ends is None else ends - db.keys.now_ms


@command("TTL", 2)
def ttl(db: Database, name: bytes) -> int:
    left = pttl(db, name)
    return left if left < 0 else (left + 500) // 1000


@command("PEXPIRETIME", 2)
def pexpiretime(db: Database, name: bytes) -> int:
    return pttl(db, name) if pttl(db, name) < 0 else db.keys.ends(name) or 0


@command("KEYS", 2)
def matching(db: Database, glob: bytes) -> list[bytes]:
    matches = pattern(glob).fullmatch
    return [name for name in db.keys if matches(name)]


@command("SCAN", -2)
def scan(db: Database, cursor: bytes, *options: bytes) -> list[Reply]:
    following, found = page(place(cursor), list(db.keys), options)
    return [following, found]


def place(cursor: bytes) -> int:
    """A cursor, which is read before anything else."""
    if not cursor.isdigit() or int(cursor) >= 2**64:
        raise Error("ERR invalid cursor")
    return int(cursor)


def page(begin: int, names: list[bytes], options: tuple[bytes, ...]) -> tuple[bytes, list[bytes]]:
    """One page of a scan, and the cursor of the next: in the order of a hash, so that a name that is there all the
    time is met, whatever comes and goes meanwhile. Where there is nothing, options are not read."""
    if not names:
        return b"0", []
    count, glob = 10, b"*"
    for option, value in zip(options[::2], options[1::2], strict=len(options) % 2 == 0):
        if word(option) == b"COUNT":
            count = integer(value)
        elif word(option) == b"MATCH":
            glob = value
        elif word(option) != b"TYPE":
            raise Error(SYNTAX)
    if count < 1 or len(options) % 2:
        raise Error(SYNTAX)
    order = sorted((crc32(name) + 1, name) for name in names)
    order = [entry for entry in order if entry[0] > begin]
    last = order[count - 1][0] if len(order) > count else None
    taken = order if last is None else [entry for entry in order if entry[0] <= last]
    following = b"0" if last is None or len(taken) == len(order) else b"%d" % last
    matches = pattern(glob).fullmatch
    return following, [name for _, name in taken if matches(name)]


@command("RENAME", 3)
def rename(db: Database, name: bytes, other: bytes) -> Status:
    value, ends = db.keys.look(name), db.keys.ends(name)
    if value is None:
        raise Error("ERR no such key")
    db.keys.drop(name)
    db.keys.drop(other)
    db.keys.put(other, value)
    db.keys.end_at(other, ends)
    return OK


@command("DBSIZE", 1)
def dbsize(db: Database) -> int:
    return len(list(db.keys))


@command("FLUSHALL", -1)
@command("FLUSHDB", -1)
def flushall(db: Database, *_: bytes) -> Status:
    db.keys.clear()
    return OK
