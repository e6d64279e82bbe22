"""Whether this instance is alive, and whether it should get clients.

Live means that the event loop turns. Ready means that each Redis does what the product asks of it (`probe`), that of
the limits too unless it is away, that the database answers, the layer's pub/sub delivers, the lease is held, and the
instance is not leaving. Each check has its own deadline and is run once at a time, however many ask: the endpoint is
open to all. It names the code of an error; the log has one line that says what is missing, and what to do. `Watch`
runs the checks from the start on, and keeps the last results for the metrics.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from channels.db import DatabaseSyncToAsync
from django.db import connection

from flotilla.monitoring.probe import LimitsProbe, ShardProbe, Unready
from flotilla.ratelimit.service import get_limits
from flotilla.realtime.node.node import Node, current_node, get_node
from flotilla.realtime.server.drain import is_leaving
from flotilla.store import Store, StoreRefused, StoreUnavailable, get_store
from flotilla.store.conf import get_store_config
from flotilla.store.once import Once
from flotilla.store.own_names import name_per_shard
from flotilla.store.supervised import SupervisedTask

logger = logging.getLogger("flotilla.monitoring.health")

WATCH_EVERY = 2.0  # seconds between two runs of the checks
STALE_AFTER = 10.0  # seconds after which their last results do not count any more
FRESH = 0.2  # seconds in which a check is not run again


@dataclass(frozen=True, slots=True)
class Check:
    """Something to ask, and how many seconds it may take."""

    ask: Callable[[], Awaitable[None]]
    within: float
    held: Callable[[], Unready | None] = lambda: None
    """Why there is no answer in that time, where that is known."""


def live() -> dict[str, Any]:
    """The process answers."""
    return {"instance": get_store_config().instance_id, "live": True}


async def ready() -> dict[str, Any]:
    """The answer of /health/ready: `instance`, `ready`, and `checks` with each one's `ok` and time in `ms`."""
    found = await asyncio.gather(*map(_shared, CHECKS))
    checks = dict(zip(CHECKS, found, strict=True)) | _node()
    return {
        "instance": get_store_config().instance_id,
        "ready": all(check["ok"] for check in checks.values()),
        "checks": checks,
    }


async def _redis() -> None:
    """Every Redis does what the product asks of it."""
    found = await asyncio.gather(*(probe.run() for probe in _of_store(get_store())), return_exceptions=True)
    for outcome in found:
        if outcome is not None:
            raise outcome


def _of_store(store: Store) -> list[ShardProbe]:
    global _probes
    if _probes is None or _probes[0] is not store:
        # of this process's own: those that overlap may have one INSTANCE_ID
        names = name_per_shard(store, f"health\0{secrets.token_hex(8)}-")
        probes = [ShardProbe(*one, of_leases=one[0] is store.first) for one in zip(store.shards, names, strict=True)]
        _probes = (store, probes)
    return _probes[1]


async def _limits() -> None:
    """The Redis of the limits does what they ask of it, or is away."""
    await _of_limits().run()


def _of_limits() -> LimitsProbe:
    return LimitsProbe(get_limits().limiter.shard)


def _redis_held() -> Unready | None:
    return next(filter(None, (probe.held() for probe in _of_store(get_store()))), None)


def _limits_held() -> Unready | None:
    return _of_limits().held()


async def _database() -> None:
    """The database answers. Where it is silent, its answer is waited for by one thread, however often this is asked:
    many such threads are all that the event loop has."""
    global _asking
    if _asking is None or _asking.done() or _asking.get_loop() is not asyncio.get_running_loop():
        _asking = asyncio.ensure_future(DatabaseSyncToAsync(_ask_database, thread_sensitive=False)())
        _asking.add_done_callback(_see)  # whether somebody waits or not
    await asyncio.shield(_asking)


def _see(asked: "asyncio.Future[None]") -> None:
    if not asked.cancelled():
        asked.exception()


def _ask_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _node() -> dict[str, dict[str, Any]]:
    """What the node says of itself, which takes no time. A node that was not started yet is started.

    The time of `pubsub` is that of the slowest shard's last heartbeat, through the layer and back.
    """
    global _starting
    node = current_node()
    if node is None:
        if not is_leaving() and (_starting is None or _starting.done()):
            _starting = asyncio.create_task(get_node())
        return {"started": {"ok": False, "ms": 0.0}}
    checks = _of_node(node)
    took = {"pubsub": round(max(node.heartbeat.round_trips, default=0.0) * 1000, 2)}
    return {name: {"ok": holds, "ms": took.get(name, 0.0)} for name, holds in checks.items()}


def _of_node(node: Node) -> dict[str, bool]:
    return node.checks() | {"accepting": not (node.draining or is_leaving())}


_starting: "asyncio.Task[Node] | None" = None
_asking: "asyncio.Future[None] | None" = None
_probes: tuple[Store, list[ShardProbe]] | None = None
_news = Once()
CHECKS: dict[str, Check] = {
    "redis": Check(_redis, 1.5, _redis_held),
    "limits": Check(_limits, 1.5, _limits_held),
    "database": Check(_database, 1.5),
}
_running: dict[str, tuple[float, "asyncio.Task[dict[str, Any]]"]] = {}  # when it began, and its run


async def _shared(name: str) -> dict[str, Any]:
    """One check's result; those who ask while it runs, or right after it began, share it."""
    loop = asyncio.get_running_loop()
    began, task = _running.get(name, (0.0, None))
    if task is None or task.get_loop() is not loop or (task.done() and loop.time() - began > FRESH):
        task = asyncio.create_task(_run(name, CHECKS[name]))
        _running[name] = (loop.time(), task)
    return await asyncio.shield(task)


async def _run(name: str, check: Check) -> dict[str, Any]:
    began = time.perf_counter()
    problem = text = ""
    try:
        async with asyncio.timeout(check.within):
            await check.ask()
    except TimeoutError:
        problem = text = f"no answer within {check.within} s"
        if (why := check.held()) is not None:
            problem, text = why.code, str(why)
    except (Unready, StoreRefused) as error:
        problem, text = error.code, str(error)
    except Exception as error:  # noqa: BLE001  a check that fails in a new way is a check that fails
        problem = type(error).__name__  # the text may name hosts and users, and anyone may ask
        text = str(error) if isinstance(error, StoreUnavailable) else problem
    if problem and _news.news((name, text)):
        logger.warning("not ready (%s): %s", name, text)
    result: dict[str, Any] = {"ok": not problem, "ms": round((time.perf_counter() - began) * 1000, 2)}
    return result | ({"problem": problem} if problem else {})


class Watch(SupervisedTask):
    """The process's looks at its own readiness, so that metrics can tell of it from another thread. `draining`: the
    process was told to end."""

    def __init__(self) -> None:
        super().__init__("readiness", self._look)
        self.draining = False
        self._checks: dict[str, bool] = {}
        self._at = float("-inf")

    @property
    def checks(self) -> dict[str, bool]:
        """Each check's last outcome, what the node says of itself now, and `loop`: whether the event loop came to look
        at all lately. Of a process that drains only `accepting` fails: the others are as it left them."""
        if self.draining:
            return self._checks | {"accepting": False, "loop": True}
        turning, node, found = time.monotonic() - self._at < STALE_AFTER, current_node(), self._checks
        if node is not None and found:  # a successor must not seem unready for longer than it is
            found = {name: ok for name, ok in found.items() if name != "started"} | _of_node(node)
        return {name: ok and turning for name, ok in found.items()} | {"loop": turning}

    @property
    def ready(self) -> bool:
        """Whether this instance should get clients, as it saw itself last."""
        return all(self.checks.values())

    async def start(self, **_: Any) -> None:
        """Begin, in the running event loop."""
        self.draining = False
        await super().start()

    async def stop(self, **_: Any) -> None:
        """The process drains: it is not ready any more."""
        await super().stop()
        self._checks = self.checks
        self.draining = True

    async def _look(self) -> None:
        while True:
            found = await ready()
            self._checks = {name: bool(check["ok"]) for name, check in found["checks"].items()}
            self._at = time.monotonic()
            await asyncio.sleep(WATCH_EVERY)


watch = Watch()
