"""Commands of a connection: greeting, subscriptions, and waiting for an element of a list."""

import hmac
from collections.abc import Callable, Iterable

from flotilla.store.in_process.arguments import integer, real, word
from flotilla.store.in_process.commands.lists import lpop, rpop
from flotilla.store.in_process.commands.server import VERSION
from flotilla.store.in_process.registry import command
from flotilla.store.in_process.replies import OK, Error, Push, Reply, Several, Status
from flotilla.store.in_process.session import Session
from flotilla.store.in_process.values import List

NO_PROTOCOL = "NOPROTO unsupported protocol version"


@command("PING", -1, of_session=True)
def ping(session: Session, *message: bytes) -> Reply:
    if session.subscribed and session.protocol == 2:
        return Push((b"pong", *(message or (b"",))))
    return message[0] if message else Status(b"PONG")


@command("ECHO", 2, of_session=True)
def echo(_: Session, message: bytes) -> bytes:
    return message


@command("QUIT", -1, of_session=True)
def quit_(session: Session, *_: bytes) -> Status:
    session.ending = True
    return OK


@command("SELECT", 2, of_session=True)
def select(_: Session, number: bytes) -> Status:
    if integer(number) != 0:
        raise Error("ERR DB index is out of range")
    return OK


@command("AUTH", -2, of_session=True)
def auth(session: Session, *login: bytes) -> Status:
    if not session.password or not hmac.compare_digest(login[-1], session.password):
        raise Error("WRONGPASS invalid username-password pair or user is disabled.")
    session.known = True
    return OK


@command("HELLO", -1, of_session=True)
def hello(session: Session, *given: bytes) -> dict[bytes, Reply]:
    words = list(given)
    protocol = integer(words.pop(0), "NOPROTO Protocol version is not an integer or out of range") if words else 2
    if protocol not in (2, 3):
        raise Error(NO_PROTOCOL)
    while words:
        option = word(words.pop(0))
        if option == b"AUTH" and len(words) >= 2:
            auth(session, words.pop(0), words.pop(0))
        elif option == b"SETNAME" and words:
            session.name = words.pop(0)
    if not session.known:
        raise Error("NOAUTH HELLO must be called with the client already authenticated")
    session.protocol = protocol
    told: dict[bytes, Reply] = {b"server": b"redis", b"version": VERSION.encode(), b"proto": protocol}
    return told | {b"id": session.number, b"mode": b"standalone", b"role": b"master", b"modules": []}


@command("CLIENT", -2, of_session=True)
def client(session: Session, subcommand: bytes, *rest: bytes) -> Reply:
    match word(subcommand):
        case b"SETINFO" | b"NO-EVICT" | b"NO-TOUCH":
            return OK
        case b"SETNAME":
            session.name = rest[0]
            return OK
        case b"GETNAME":
            return session.name or None
        case b"ID":
            return session.number
        case b"INFO":
            return session.line()
        case b"LIST":
            return b"".join(one.line() for one in session.all())
        case b"KILL":
            return _kill(session, rest)
    raise Error(f"ERR unknown subcommand '{subcommand.decode(errors='replace')}'. Try CLIENT HELP.")


def _kill(session: Session, rest: tuple[bytes, ...]) -> int:
    filters = dict(zip(map(word, rest[::2]), rest[1::2], strict=False))
    if not filters or not filters.keys() <= {b"TYPE", b"ID", b"SKIPME"}:
        raise Error("ERR syntax error")
    meant = [
        one
        for one in session.all()
        if (b"TYPE" not in filters or filters[b"TYPE"].lower() == (b"pubsub" if one.subscribed else b"normal"))
        and (b"ID" not in filters or integer(filters[b"ID"]) == one.number)
        and (one is not session or filters.get(b"SKIPME", b"").lower() == b"no")
    ]
    for one in meant:
        one.ending = True
    return len(meant)


def _told(kind: bytes, name: bytes | None, session: Session) -> Push:
    return Push((kind, name, session.subscribed))


def _each(session: Session, kind: bytes, names: Iterable[bytes], act: Callable[[Session, bytes], object]) -> Several:
    """Do it for each name, and tell it for each; for none it is told once, of no name."""
    told = Several()
    for name in names:
        act(session, name)
        told.append(_told(kind, name, session))
    return told or Several([_told(kind, None, session)])


@command("SUBSCRIBE", -2, of_session=True)
def subscribe(session: Session, *topics: bytes) -> Several:
    return _each(session, b"subscribe", topics, session.db.subscriptions.subscribe)


@command("UNSUBSCRIBE", -1, of_session=True)
def unsubscribe(session: Session, *topics: bytes) -> Several:
    names = topics or list(session.topics)
    return _each(session, b"unsubscribe", names, session.db.subscriptions.unsubscribe)


@command("PSUBSCRIBE", -2, of_session=True)
def psubscribe(session: Session, *globs: bytes) -> Several:
    return _each(session, b"psubscribe", globs, session.db.subscriptions.subscribe_pattern)


@command("PUNSUBSCRIBE", -1, of_session=True)
def punsubscribe(session: Session, *globs: bytes) -> Several:
    names = globs or list(session.patterns)
    return _each(session, b"punsubscribe", names, session.db.subscriptions.unsubscribe_pattern)


def _wait(session: Session, given: tuple[bytes, ...], *, left: bool) -> Reply:
    seconds = real(given[-1], "ERR timeout is not a float or out of range")
    if seconds < 0:
        raise Error("ERR timeout is negative")

    def taken() -> Reply:
        for name in given[:-1]:
            if session.db.keys.find(name, List):
                return [name, (lpop if left else rpop)(session.db, name)]
        return None

    found = taken()
    if found is None:
        session.wait(frozenset(given[:-1]), taken, seconds)
        return Several()
    return found


@command("BLPOP", -3, of_session=True)
def blpop(session: Session, *given: bytes) -> Reply:
    return _wait(session, given, left=True)


@command("BRPOP", -3, of_session=True)
def brpop(session: Session, *given: bytes) -> Reply:
    return _wait(session, given, left=False)
