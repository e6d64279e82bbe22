"""Commands about scripts, which scripts themselves may not call."""

from flotilla.store.in_process.arguments import integer, word
from flotilla.store.in_process.registry import command
from flotilla.store.in_process.replies import OK, Error, Reply
from flotilla.store.in_process.session import Session


def _split(numkeys: bytes, rest: tuple[bytes, ...]) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    count = integer(numkeys)
    if count < 0:
        raise Error("ERR Number of keys can't be negative")
    if count > len(rest):
        raise Error("ERR Number of keys can't be greater than number of args")
    return rest[:count], rest[count:]


@command("EVAL", -3, of_session=True)
def evaluate(session: Session, source: bytes, numkeys: bytes, *rest: bytes) -> Reply:
    keys, arguments = _split(numkeys, rest)
    scripts = session.db.scripts
    return scripts.run(scripts.load(source), keys, arguments)


@command("EVALSHA", -3, of_session=True)
def evalsha(session: Session, digest: bytes, numkeys: bytes, *rest: bytes) -> Reply:
    keys, arguments = _split(numkeys, rest)
    return session.db.scripts.run(digest, keys, arguments)


@command("SCRIPT", -2, of_session=True)
def script(session: Session, subcommand: bytes, *rest: bytes) -> Reply:
    scripts = session.db.scripts
    match word(subcommand), rest:
        case b"LOAD", (source,):
            return scripts.load(source)
        case b"EXISTS", (_, *_):
            return [int(scripts.knows(digest)) for digest in rest]
        case b"FLUSH", _:
            scripts.flush()
            return OK
    raise Error(f"ERR unknown subcommand '{subcommand.decode(errors='replace')}'. Try SCRIPT HELP.")
