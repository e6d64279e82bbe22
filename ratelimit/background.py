"""A thread that tells Redis once a second that this process lives and whom it denied most, and that learns from it
how many processes there are and whether personal limits changed; then it loads them from the database.

So no request makes a query or waits for any of this, and it is the same under any server. While Redis is away it loads
them each time. It does so now and then in any case, because a change may not have been announced.
"""

import logging
import os
import threading
from collections.abc import Mapping
from typing import Any, Protocol

from django.db import DatabaseError, connections

from flotilla.ratelimit import keys
from flotilla.ratelimit.conf import get_limits_config
from flotilla.ratelimit.limiter import Limiter
from flotilla.store import Script, StoreUnavailable
from flotilla.store.conf import get_store_config

logger = logging.getLogger("flotilla.ratelimit")

EVERY = 1.0  # seconds between rounds; a change is everywhere after this and the time of a query
RELOAD_EVERY = 30  # rounds
GONE_AFTER = 5_000  # ms without a round, after which a process is not counted
MAX_HOTTEST = 500  # keys with most denials that Redis keeps
HOTTEST_FOR = 3600  # seconds
MAX_AT_ONCE = 100  # of them told in one round

_SYNC = Script.load("flotilla.ratelimit", "sync")


class Limits(Protocol):
    """The process's limits, as far as they are kept in step. `personal` is replaced as a whole."""

    limiter: Limiter
    personal: Mapping[tuple[str, str], Any]


class BackgroundSync:
    """Keeps the process's limits in step with Redis and the database. A daemon thread: no process waits for its end."""

    def __init__(self, limits: Limits) -> None:
        self.instances: int = get_limits_config().instances  # until Redis has said
        self.running = False
        self._limits = limits
        self._name = f"{get_store_config().instance_id}-{os.getpid()}"
        self._version: int | None = None
        self._rounds = 0
        self._wake = threading.Event()
        self._stopped = False
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin, unless it is disabled (`RATE_LIMIT_BACKGROUND_SYNC = False`, for tests that call `sync`)."""
        with self._lock:
            if self.running:
                return
            self.running = True
        if get_limits_config().rate_limit_background_sync:
            threading.Thread(target=self._run, name="limits-sync", daemon=True).start()

    def stop(self) -> None:
        """End after the round that is under way."""
        self._stopped = True
        self._wake.set()

    def sync_soon(self) -> None:
        """Something changed: begin the next round at once."""
        self._wake.set()

    def _run(self) -> None:
        while not self._stopped:
            self._wake.clear()
            try:
                self.sync()
            except Exception:  # the next round may succeed, and without the log nobody would know
                logger.exception("keeping the limits in step failed")
            self._wake.wait(EVERY)

    def sync(self) -> None:
        """One round: tell and ask Redis, and load personal limits if they may have changed."""
        version = self._exchange()
        due = version is None or version != self._version or self._rounds % RELOAD_EVERY == 0
        self._rounds += 1
        if due and self._load() and version is not None:
            self._version = version

    def _exchange(self) -> int | None:
        """The version in Redis; None while Redis is away."""
        hot = self._limits.limiter.counts.take_hot()
        pairs: list[Any] = []
        for (policy, identity), denials in hot.most_common(MAX_AT_ONCE):
            pairs += [f"{policy}\n{identity}", denials]
        args = [self._name, GONE_AFTER, MAX_HOTTEST, HOTTEST_FOR, *pairs]
        try:
            shard = self._limits.limiter.sync_shard
            version, self.instances = shard.run_sync(_SYNC, [keys.version(), keys.alive(), keys.hottest()], args)
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
