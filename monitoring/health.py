"""Whether this instance is alive, and whether it should get clients.

Live means that the process answers at all. Ready means that Redis, the database and the engine are well and that it is
not leaving. Each check has its own deadline and is run once at a time, however many ask: the endpoint is open to all.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from channels.db import DatabaseSyncToAsync
from django.conf import settings
from django.db import connection

from realtime.engine.node import Node, current_node, get_node
from realtime.server.life import is_leaving
from store import get_store

DEADLINE = 1.5  # seconds a check may take

Check = Callable[[], Awaitable[None]]


def live() -> dict[str, Any]:
    """The process answers."""
    return {"instance": settings.INSTANCE_ID, "live": True}


async def ready() -> dict[str, Any]:
    """The answer of /health/ready: `instance`, `ready`, and `checks` with each one's `ok` and time in `ms`."""
    found = await asyncio.gather(*map(_shared, CHECKS))
    checks = dict(zip(CHECKS, found, strict=True)) | _engine()
    return {"instance": settings.INSTANCE_ID, "ready": all(check["ok"] for check in checks.values()), "checks": checks}


async def _redis() -> None:
    await asyncio.gather(*(shard.execute("PING") for shard in get_store().shards))


async def _database() -> None:
    await DatabaseSyncToAsync(_ask_database, thread_sensitive=False)()


def _ask_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _engine() -> dict[str, dict[str, Any]]:
    """What the engine says of itself, which takes no time. A node that was not started yet is started."""
    global _starting
    node = current_node()
    if node is None:
        if not is_leaving() and (_starting is None or _starting.done()):
            _starting = asyncio.create_task(get_node())
        return {"started": {"ok": False, "ms": 0.0}}
    checks = node.checks() | {"accepting": not (node.draining or is_leaving())}
    return {name: {"ok": holds, "ms": 0.0} for name, holds in checks.items()}


_starting: "asyncio.Task[Node] | None" = None
CHECKS: dict[str, Check] = {"redis": _redis, "database": _database}
_running: dict[str, "asyncio.Task[dict[str, Any]]"] = {}


async def _shared(name: str) -> dict[str, Any]:
    """One check's result; those who ask while it runs share it."""
    task = _running.get(name)
    if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
        task = _running[name] = asyncio.create_task(_run(CHECKS[name]))
    return await asyncio.shield(task)


async def _run(check: Check) -> dict[str, Any]:
    began = time.perf_counter()
    problem = ""
    try:
        async with asyncio.timeout(DEADLINE):
            await check()
    except TimeoutError:
        problem = f"no answer within {DEADLINE} s"
    except Exception as error:  # noqa: BLE001  a check that fails in a new way is a check that fails
        problem = type(error).__name__  # the text may name hosts and users, and anyone may ask
    result: dict[str, Any] = {"ok": not problem, "ms": round((time.perf_counter() - began) * 1000, 2)}
    return result | ({"problem": problem} if problem else {})
