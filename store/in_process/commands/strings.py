"""Commands about strings, the numbers and the bits in them."""

from flotilla.store.in_process.arguments import SYNTAX, in_range, integer, pairs, real, word
from flotilla.store.in_process.database import Database
from flotilla.store.in_process.registry import command
from flotilla.store.in_process.replies import OK, Error, Reply, Status, double

OVERFLOW = "ERR increment or decrement would overflow"
LONGEST = 512 * 1024 * 1024  # bytes of a string


@command("GET", 2)
def get(db: Database, name: bytes) -> bytes | None:
    return db.keys.find(name, bytes)


@command("SET", -3)
def put(db: Database, name: bytes, value: bytes, *options: bytes) -> Reply:
    words, left = list(options), set[bytes]()
    ends: int | None = None
    while words:
        option = word(words.pop(0))
        if option in (b"EX", b"PX", b"EXAT", b"PXAT") and words:
            ends = _ends(db, option, words.pop(0), "set")
        elif option in (b"NX", b"XX", b"GET", b"KEEPTTL"):
            left.add(option)
        else:
            raise Error(SYNTAX)
    if {b"NX", b"XX"} <= left or (ends is not None and b"KEEPTTL" in left):
        raise Error(SYNTAX)
    before = db.keys.find(name, bytes) if b"GET" in left else None
    if (b"NX" in left and name in db.keys) or (b"XX" in left and name not in db.keys):
        return before
    db.keys.put(name, value)
    if b"KEEPTTL" not in left:
        db.keys.end_at(name, ends)
    return before if b"GET" in left else OK


def _ends(db: Database, option: bytes, text: bytes, name: str) -> int:
    number = integer(text)
    if number <= 0:
        raise Error(f"ERR invalid expire time in '{name}' command")
    number *= 1000 if option in (b"EX", b"EXAT") else 1
    return number if option.endswith(b"AT") else db.keys.now_ms + number


@command("SETEX", 4)
def setex(db: Database, name: bytes, seconds: bytes, value: bytes) -> Status:
    ends = _ends(db, b"EX", seconds, "setex")
    db.keys.put(name, value)
    db.keys.end_at(name, ends)
    return OK


@command("SETNX", 3)
def setnx(db: Database, name: bytes, value: bytes) -> int:
    return int(put(db, name, value, b"NX") is OK)


@command("GETDEL", 2)
def getdel(db: Database, name: bytes) -> bytes | None:
    value = get(db, name)
    db.keys.drop(name)
    return value


@command("MGET", -2)
def mget(db: Database, *names: bytes) -> list[Reply]:
    values = (db.keys.look(name) for name in names)
    return [value if isinstance(value, bytes) else None for value in values]


@command("MSET", -3)
def mset(db: Database, *flat: bytes) -> Status:
    if len(flat) % 2:
        raise Error("ERR wrong number of arguments for 'mset' command")
    for name, value in pairs(flat):
        put(db, name, value)
    return OK


def _add(db: Database, name: bytes, number: int) -> int:
    value = get(db, name)
    known = 0 if value is None else integer(value)
    total = in_range(known + number, OVERFLOW)
    db.keys.put(name, b"%d" % total)
    return total


@command("INCR", 2)
def incr(db: Database, name: bytes) -> int:
    return _add(db, name, 1)


@command("DECR", 2)
def decr(db: Database, name: bytes) -> int:
    return _add(db, name, -1)


@command("INCRBY", 3)
def incrby(db: Database, name: bytes, number: bytes) -> int:
    return _add(db, name, integer(number))


@command("DECRBY", 3)
def decrby(db: Database, name: bytes, number: bytes) -> int:
    return _add(db, name, -integer(number))


@command("INCRBYFLOAT", 3)
def incrbyfloat(db: Database, name: bytes, number: bytes) -> bytes:
    value = get(db, name)
    total = double((0.0 if value is None else real(value)) + real(number))
    db.keys.put(name, total)
    return total


@command("APPEND", 3)
def append(db: Database, name: bytes, value: bytes) -> int:
    whole = (get(db, name) or b"") + value
    db.keys.put(name, whole)
    return len(whole)


@command("STRLEN", 2)
def strlen(db: Database, name: bytes) -> int:
    return len(get(db, name) or b"")


@command("GETRANGE", 4)
def getrange(db: Database, name: bytes, start: bytes, stop: bytes) -> bytes:
    first, last = integer(start), integer(stop)
    value = get(db, name) or b""
    if first < 0 and last < first:
        return b""
    first, last = (max(place + len(value), 0) if place < 0 else place for place in (first, last))
    return value[first : last + 1]


def _bit(text: bytes) -> tuple[int, int]:
    """The byte of a bit and its mask. The highest bit of a byte is its first."""
    offset = integer(text, "ERR bit offset is not an integer or out of range")
    if not 0 <= offset < LONGEST * 8:
        raise Error("ERR bit offset is not an integer or out of range")
    return offset // 8, 0x80 >> offset % 8


@command("GETBIT", 3)
def getbit(db: Database, name: bytes, offset: bytes) -> int:
    place, mask = _bit(offset)
    value = get(db, name) or b""
    return int(place < len(value) and bool(value[place] & mask))


@command("SETBIT", 4)
def setbit(db: Database, name: bytes, offset: bytes, bit: bytes) -> int:
    place, mask = _bit(offset)
    if bit not in (b"0", b"1"):
        raise Error("ERR bit is not an integer or out of range")
    value = bytearray(get(db, name) or b"")
    value.extend(bytes(max(place + 1 - len(value), 0)))
    before = int(bool(value[place] & mask))
    value[place] = value[place] | mask if bit == b"1" else value[place] & ~mask
    db.keys.put(name, bytes(value))
    return before


@command("BITCOUNT", 2)
def bitcount(db: Database, name: bytes) -> int:
    return int.from_bytes(get(db, name) or b"").bit_count()
