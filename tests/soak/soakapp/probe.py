"""What one process holds, as it says itself: written to a file of its own every few seconds, by a thread of its own.

Nothing is collected for it: garbage that stays until somebody collects it is what the process holds. Objects are
counted by type only where they are old: who holds all objects, if only for a moment, holds tuples that are being made,
which then fail, and keeps cursors of databases open.
"""

import asyncio
import ctypes
import ctypes.util
import gc
import json
import os
import re
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from flotilla.realtime.server import heap
from tests.soak.soakapp.caches import fill

EVERY = 2.0  # seconds
TYPES_EVERY = 30.0  # seconds: going through all objects takes tens of milliseconds
COMMONEST = 400


def _library() -> ctypes.CDLL | None:
    """SQLite's, where Python's module shares it."""
    if (name := ctypes.util.find_library("sqlite3")) is None:
        return None
    found = ctypes.CDLL(name)
    found.sqlite3_memory_used.restype = ctypes.c_int64
    return found


_sqlite = _library()
_libc = ctypes.CDLL(None)
_libc.open_memstream.restype = ctypes.c_void_p
_libc.fclose.argtypes = _libc.free.argtypes = [ctypes.c_void_p]
_allocator: Any = ctypes.pythonapi._PyObject_DebugMallocStats
_allocator.argtypes = [ctypes.c_void_p]
ARENAS = re.compile(r"^\d+ arenas \* \d+ bytes/arena +=\s+([\d,]+)$", re.MULTILINE)
GIVEN = re.compile(r"^# bytes in allocated blocks +=\s+([\d,]+)$", re.MULTILINE)


def path_of(folder: Path, instance: str) -> Path:
    """Where an instance writes."""
    return folder / f"probe-{instance}.json"


def start() -> None:
    """Write from now on, until the process ends."""
    path = path_of(Path(os.environ["FLOTILLA_VAR"]), os.environ["INSTANCE_ID"])
    threading.Thread(target=_run, args=(path,), name="probe", daemon=True).start()


def _run(path: Path) -> None:
    from daphne.server import twisted_loop

    while not twisted_loop.is_running():  # until then the process is being made, and what it has then is set apart
        time.sleep(0.1)
    fill()
    types: dict[str, int] = {}
    looked = -TYPES_EVERY
    while True:
        if time.monotonic() - looked >= TYPES_EVERY:
            looked, types = time.monotonic(), _types()
        figures = _figures(twisted_loop) | {"types": types}
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(figures))
        draft.replace(path)
        time.sleep(EVERY)


def _figures(loop: asyncio.AbstractEventLoop) -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "tasks": len(asyncio.all_tasks(loop)),
        "blocks": sys.getallocatedblocks(),
        **_objects(),
        "heap": _used(),
        "kept": heap.free_bytes(),
        "sqlite": _sqlite.sqlite3_memory_used() if _sqlite is not None else 0,
    }


def _objects() -> dict[str, int]:
    """Bytes that Python's own allocator has from the system, and those of them that objects have. The rest is room."""
    text, size = ctypes.c_void_p(), ctypes.c_size_t()
    stream = _libc.open_memstream(ctypes.byref(text), ctypes.byref(size))
    try:
        _allocator(stream)
    finally:
        _libc.fclose(stream)
    said = ctypes.string_at(text.value or 0, size.value).decode()
    _libc.free(text)
    found = {name: pattern.search(said) for name, pattern in (("arenas", ARENAS), ("objects", GIVEN))}
    return {name: int(known[1].replace(",", "")) if known else 0 for name, known in found.items()}


def _used() -> int:
    """Bytes that malloc has given out: what is larger than Python's own allocator takes, and what libraries have."""
    if heap._library is None:
        return 0
    known = heap._library.mallinfo2()
    return int(known.uordblks + known.hblkhd)


def _types() -> dict[str, int]:
    """How many old objects there are of the commonest types that the collector knows."""
    counts = Counter(map(type, gc.get_objects(generation=2)))
    return {f"{kind.__module__}.{kind.__qualname__}": count for kind, count in counts.most_common(COMMONEST)}
