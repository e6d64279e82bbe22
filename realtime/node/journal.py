"""The cluster's journal: starts with what had changed, ends, and what people did from a shell. For “what changed?”.

A stream of bounded length on the first Redis. It is a help: nothing depends on it, and what cannot be noted is lost.
Settings are told by name; the values of those that are no numbers or switches are never in it (`snapshot`).
"""

import time
from collections.abc import Mapping
from typing import Any

import msgspec

from flotilla.realtime.node.control import first_place
from flotilla.store import Store, StoreUnavailable, reading

KEEPS = 500  # entries
KEEPS_FOR = 14 * 86_400  # seconds without any entry after which all are forgotten
MAX_ENTRY = 16_384  # bytes; what is longer is cut to its head
MAX_CHANGED = 60  # changes named in one entry

Snapshot = Mapping[str, str]


def _key() -> str:
    return first_place().key("journal")


def _last_start() -> str:
    return first_place().key("last-start")


async def note(store: Store, kind: str, instance: str, **about: Any) -> None:
    """Add an entry. Raises StoreUnavailable."""
    await store.first.execute("XADD", _key(), "MAXLEN", KEEPS, "*", "d", _entry(kind, instance, about))
    await store.first.execute("EXPIRE", _key(), KEEPS_FOR)


def note_sync(store: Store, kind: str, instance: str = "", **about: Any) -> None:
    """`note` for threads. Raises StoreUnavailable."""
    store.first.execute_sync("XADD", _key(), "MAXLEN", KEEPS, "*", "d", _entry(kind, instance, about))
    store.first.execute_sync("EXPIRE", _key(), KEEPS_FOR)


def _entry(kind: str, instance: str, about: Mapping[str, Any]) -> bytes:
    told = msgspec.json.encode({"kind": kind, "instance": instance, **about})
    if len(told) <= MAX_ENTRY:
        return told
    return msgspec.json.encode({"kind": kind, "instance": instance, "cut": True})


async def compare(store: Store, now: Snapshot) -> list[str]:
    """What is not as it was when an instance started last, in words; this start is the last one from now on. Instances
    that start at the same moment may tell the same. Raises StoreUnavailable."""
    kept = await store.first.execute("GET", _last_start())
    await store.first.execute("SET", _last_start(), msgspec.json.encode(now), "PX", KEEPS_FOR * 1000)
    try:
        before = msgspec.json.decode(kept, type=dict[str, str]) if kept else None
    except msgspec.MsgspecError:  # of another release
        before = None
    return [] if before is None else differences(before, now)


def differences(before: Snapshot, now: Snapshot) -> list[str]:
    """What has changed from one start to another, in words. Values that begin with `#` are digests, and not told."""
    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    told = [f"{name}: {_shown(before.get(name))} → {_shown(now.get(name))}" for name in names[:MAX_CHANGED]]
    return told + ([f"… {len(names) - MAX_CHANGED} more"] if len(names) > MAX_CHANGED else [])


def _shown(value: str | None) -> str:
    return "none" if value is None else "…" if value.startswith("#") else value


def recent(store: Store, since: float, limit: int) -> list[dict[str, Any]]:
    """Entries after `since` (Unix seconds), the newest first, each with its time `at`. Raises StoreUnavailable."""
    start = f"{max(0, int(since * 1000))}-0"
    found = store.first.execute_sync("XREVRANGE", _key(), "+", start, "COUNT", limit)
    with reading("the journal"):
        return [
            msgspec.json.decode(dict(zip(fields[::2], fields[1::2], strict=True))[b"d"], type=dict[str, Any])
            | {"at": int(number.partition(b"-")[0]) / 1000}
            for number, fields in found
        ]


def note_act(store: Store, what: str, by: str, hit: int) -> bool:
    """Note what somebody did from a shell, as well as it can be; False when Redis does not take it."""
    try:
        note_sync(store, "act", what=what, by=by, hit=hit, told_at=time.time())
    except StoreUnavailable:
        return False
    return True
