"""Commands about the server itself."""

from flotilla.store.in_process.arguments import pattern, word
from flotilla.store.in_process.database import Database
from flotilla.store.in_process.registry import command
from flotilla.store.in_process.replies import OK, Error, Reply

VERSION = "7.2.0"  # whose replies and errors these are


@command("TIME", 1)
def time(db: Database) -> list[bytes]:
    return [b"%d" % part for part in divmod(db.keys.now_us, 1_000_000)]


@command("PUBLISH", 3)
def publish(db: Database, topic: bytes, message: bytes) -> int:
    return db.subscriptions.publish(topic, message)


@command("PUBSUB", -2)
def pubsub(db: Database, subcommand: bytes, *rest: bytes) -> Reply:
    match word(subcommand):
        case b"CHANNELS":
            matches = pattern(rest[0] if rest else b"*").fullmatch
            return [topic for topic in db.subscriptions.topics() if matches(topic)]
        case b"NUMSUB":
            return [part for topic in rest for part in (topic, db.subscriptions.count(topic))]
        case b"NUMPAT":
            return db.subscriptions.patterns
    raise Error(f"ERR unknown subcommand '{subcommand.decode(errors='replace')}'. Try PUBSUB HELP.")


@command("INFO", -1)
def info(db: Database, *sections: bytes) -> bytes:
    wanted = {section.lower().decode() for section in sections} or {"default"}
    everything = wanted & {"default", "all", "everything"}
    told = [
        f"# {name.capitalize()}\r\n" + "".join(f"{field}:{value}\r\n" for field, value in fields.items())
        for name, fields in _sections(db).items()
        if name in wanted or (everything and (name != "commandstats" or "default" not in wanted))
    ]
    return "\r\n".join(told).encode()


def _sections(db: Database) -> dict[str, dict[str, object]]:
    up = (db.keys.now_ms - db.began) // 1000
    keys = len(list(db.keys))
    return {
        "server": {
            "redis_version": VERSION,
            "redis_mode": "standalone",
            "engine": "flotilla in process",
            "process_id": db.pid,
            "run_id": db.run_id,
            "uptime_in_seconds": up,
        },
        "memory": {
            "used_memory": 0,
            "maxmemory": db.config[b"maxmemory"].decode(),
            "maxmemory_policy": db.config[b"maxmemory-policy"].decode(),
        },
        "persistence": {"loading": 0, "rdb_bgsave_in_progress": 0, "aof_enabled": 0},
        "stats": {"total_commands_processed": db.calls.total()},
        "replication": {"role": "master", "connected_slaves": 0},
        "commandstats": {f"cmdstat_{name.lower()}": f"calls={calls}" for name, calls in sorted(db.calls.items())},
        "keyspace": {"db0": f"keys={keys},expires=0,avg_ttl=0"} if keys else {},
    }


@command("CONFIG", -2)
def config(db: Database, subcommand: bytes, *rest: bytes) -> Reply:
    match word(subcommand), rest:
        case b"GET", (_, *_):
            found = [name for glob in rest for name in db.config if pattern(glob.lower()).fullmatch(name)]
            return {name: db.config[name] for name in found}
        case b"RESETSTAT", ():
            db.calls.clear()
            return OK
    raise Error("ERR the engine in the process has nothing that can be configured")
