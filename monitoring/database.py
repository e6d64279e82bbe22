"""How long the database takes: every query of the process, of pages, hooks and sessions alike, by database.

Django's own wrapper around a cursor's `execute` is put on each connection when it is made. Queries run in many threads,
so counting has a lock; beside a query it costs nothing.
"""

import time
from collections.abc import Callable
from threading import Lock
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from flotilla.store.stats import Histogram

TIMES = (0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)  # seconds


class DatabaseStats:
    """By the database's alias: its times in seconds, queries that raised, and connections that were made."""

    def __init__(self) -> None:
        self.times: dict[str, Histogram] = {}
        self.errors: dict[str, int] = {}
        self.connections: dict[str, int] = {}
        self._lock = Lock()

    def watch(self, connection: BaseDatabaseWrapper, **_: Any) -> None:
        """Count what is asked over a connection from now on."""
        with self._lock:
            alias = connection.alias
            self.times.setdefault(alias, Histogram(TIMES))
            self.errors.setdefault(alias, 0)
            self.connections[alias] = self.connections.get(alias, 0) + 1
        if self._execute not in connection.execute_wrappers:
            connection.execute_wrappers.append(self._execute)

    def _execute(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        alias, began, failed = context["connection"].alias, time.perf_counter(), 1
        try:
            result = execute(sql, params, many, context)
            failed = 0
            return result
        finally:
            spent = time.perf_counter() - began
            with self._lock:
                self.times[alias].observe(spent)
                self.errors[alias] += failed


database_stats = DatabaseStats()


def register() -> None:
    """Watch every connection that Django makes in this process from now on."""
    connection_created.connect(database_stats.watch, dispatch_uid="flotilla.monitoring.database")
