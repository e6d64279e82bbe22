"""A thread that looks once a second whether personal limits changed, says that this process lives, and what it denied.

So no request makes a query or waits for any of it, and it is the same under any server. While Redis is away it looks
at the database instead; it looks there now and then in any case, for changes that were announced to nobody.
"""

import logging
import os
import threading
from collections.abc import Mapping
from typing import Any, Protocol

from django.conf import settings
from django.db import DatabaseError, connections

from flotilla.ratelimit import keys
from flotilla.ratelimit.limiter import Limiter
from flotilla.store import Script, StoreUnavailable

logger = logging.getLogger("flotilla.ratelimit")

EVERY = 1.0  # seconds between looks; a change is everywhere after this and the time of a query
RELOAD_EVERY = 30  # looks
GONE_AFTER = 5_000  # ms
MAX_HOTTEST = 500
HOTTEST_FOR = 3600  # seconds
MAX_AT_ONCE = 100

_LOOK = Script.load("flotilla.ratelimit", "upkeep")


class Limits(Protocol):
    """The process's limits, which are kept up. `personal` is replaced as a whole."""

    limiter: Limiter
    personal: Mapping[tuple[str, str], Any]


class Upkeep:
    """Begins with the first claim; a daemon, so that no process waits for it."""

    def __init__(self, limits: Limits) -> None:
        self.instances: int = getattr(settings, "INSTANCES", 1)  # until Redis has told
        self.running = False
        self._limits = limits
        self._name = f"{settings.INSTANCE_ID}-{os.getpid()}" if hasattr(settings, "INSTANCE_ID") else str(os.getpid())
        self._version: int | None = None
        self._looks = 0
        self._wake = threading.Event()
        self._stopped = False
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin, unless it is disabled (`RATE_LIMIT_UPKEEP = False`, for tests that look by themselves)."""
        with self._lock:
            if self.running:
                return
            self.running = True
        if getattr(settings, "RATE_LIMIT_UPKEEP", True):
            threading.Thread(target=self._run, name="limits-upkeep", daemon=True).start()

    def stop(self) -> None:
        """End after the look that is under way."""
        self._stopped = True
        self._wake.set()

    def look_soon(self) -> None:
        """Something changed: look now."""
        self._wake.set()

    def _run(self) -> None:
        while not self._stopped:
            self._wake.clear()
            try:
                self.look()
            except Exception:  # the next look may succeed, and nothing else would tell
                logger.exception("the upkeep of the limits failed")
            self._wake.wait(EVERY)

    def look(self) -> None:
        """One round: ask Redis, and load personal limits if they may have changed."""
        version = self._ask()
        due = version is None or version != self._version or self._looks % RELOAD_EVERY == 0
        self._looks += 1
        if due and self._load() and version is not None:
            self._version = version

    def _ask(self) -> int | None:
        """The version in Redis; None while Redis is away."""
        hot = self._limits.limiter.counts.take_hot()
        pairs: list[Any] = []
        for (policy, identity), denials in hot.most_common(MAX_AT_ONCE):
            pairs += [f"{policy}\n{identity}", denials]
        args = [self._name, GONE_AFTER, MAX_HOTTEST, HOTTEST_FOR, *pairs]
        try:
            shard = self._limits.limiter.sync_shard
            version, self.instances = shard.run_sync(_LOOK, [keys.version(), keys.alive(), keys.hottest()], args)
            self._limits.limiter.heard()
        except StoreUnavailable:
            return None
        return int(version)

    def _load(self) -> bool:
        from flotilla.ratelimit import personal

        try:
            self._limits.personal = personal.load()
        except DatabaseError as error:
            logger.warning("personal limits cannot be read, the last known ones count: %s", error)
            return False
        finally:
            if threading.current_thread() is not threading.main_thread():
                connections.close_all()  # this thread's own
        self._limits.limiter.forget()
        return True
