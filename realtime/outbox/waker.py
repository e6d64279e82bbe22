"""What a relay waits on between two looks: a commit in this process, what PostgreSQL notifies, its end, and time.

Being notified takes a session of the server's own: LISTEN and the lock of who sleeps belong to it. Behind a pooler that
gives each transaction any session (PgBouncer in transaction mode) a lock would be left behind in one of them, so there
a relay only looks now and then.
"""

import contextlib
import logging
import selectors
import socket
from typing import Any

from django.db import connections

from flotilla.realtime.outbox.order import LIE_DOWN, RISE, WAKE

logger = logging.getLogger("flotilla.outbox")

FEW = 4096  # bytes
COMMITS_WITHIN = 0.02  # seconds until a transaction that is committed now should be seen


class Waker:
    """One relay's. `wake` from any thread; everything else from the relay's."""

    def __init__(self, using: str) -> None:
        self._using = using
        self._woken, self._wake = socket.socketpair()
        self._woken.setblocking(False)
        self._wake.setblocking(False)
        self._listens_to: tuple[Any, str] = (None, "")
        self._notified = False
        self._asleep: Any = None  # the connection that holds the lock of who sleeps
        self._pooled: Any = None  # a connection whose session is not ours alone

    def wake(self) -> None:
        """End the wait that is under way, or the next one."""
        with contextlib.suppress(OSError):  # it is full, so it wakes already; or it has been closed
            self._wake.send(b"x")

    def listen(self, channel: str) -> None:
        """From now on wait for what PostgreSQL notifies on this channel alone. May raise DatabaseError."""
        connection = connections[self._using]
        if connection.vendor != "postgresql":
            return
        connection.ensure_connection()
        raw = connection.connection
        if self._listens_to == (raw, channel) or self._pooled is raw:
            return
        self._rise()
        if self._listens_to[0] is not raw and not self._has_session(raw):
            self._pooled = raw
            return
        with connection.cursor() as cursor:
            cursor.execute("UNLISTEN *")
            cursor.execute(f"LISTEN {channel}")
        if self._listens_to[0] is not raw and hasattr(raw, "add_notify_handler"):
            raw.add_notify_handler(self._notify)
        self._listens_to = (raw, channel)
        self._notified = True  # what was committed just before is not notified

    def wait(self, seconds: float) -> None:
        """Wait so long at most. May raise DatabaseError where the connection has ended."""
        raw = self._raw()
        if self._take_notified(raw):
            self._rise()
            return
        if raw is not None and self._listens_to[1] == WAKE and self._asleep is not raw:
            if self._lies_down(raw):
                return  # to look once more: from now on commits notify
            seconds = min(seconds, COMMITS_WITHIN)
        ready = _readable([self._woken] if raw is None else [self._woken, raw], seconds)
        if self._woken in ready:
            with contextlib.suppress(BlockingIOError):
                self._woken.recv(FEW)
        if raw is not None and raw in ready:
            with connections[self._using].wrap_database_errors:
                _consume(raw)
            self._take_notified(raw)
        if ready:
            self._rise()

    def close(self) -> None:
        """No more."""
        self._woken.close()
        self._wake.close()

    def _raw(self) -> Any:
        """The driver's connection, while it is the one that listens."""
        raw = connections[self._using].connection
        return raw if raw is not None and raw is self._listens_to[0] else None

    def _has_session(self, raw: Any) -> bool:
        """Whether the server's process that answers is the one that we were told of when we connected."""
        if self._ask("SELECT pg_backend_pid()") == raw.info.backend_pid:
            return True
        if self._pooled is None:
            logger.info("database %s: a pooler is between, so its outbox is looked at now and then", self._using)
        return False

    def _lies_down(self, raw: Any) -> bool:
        """Have commits notify; False while one that does not is under way."""
        if self._ask(LIE_DOWN):
            self._asleep = raw
        return self._asleep is raw

    def _rise(self) -> None:
        """Commits need not notify any more, which makes them wait for each other."""
        if self._asleep is not None and self._asleep is self._raw():
            self._ask(RISE)
        self._asleep = None

    def _ask(self, question: str) -> Any:
        with connections[self._using].cursor() as cursor:
            cursor.execute(question)
            (answer,) = cursor.fetchone()
        return answer

    def _notify(self, _: Any) -> None:
        """The driver met a notification in the answers to some query."""
        self._notified = True

    def _take_notified(self, raw: Any) -> bool:
        notified, self._notified = self._notified, False
        waiting = getattr(raw, "notifies", None)
        if isinstance(waiting, list) and waiting:  # psycopg2 keeps them there
            waiting.clear()
            return True
        return notified


def _readable(sockets: list[Any], seconds: float) -> list[Any]:
    """Those that have something to be read, at the latest after so many seconds. Their numbers may be high ones, which
    `select.select` does not take: a serving process has a descriptor for each client."""
    with selectors.DefaultSelector() as selector:
        for one in sockets:
            selector.register(one, selectors.EVENT_READ)
        return [key.fileobj for key, _ in selector.select(max(0.0, seconds))]


def _consume(raw: Any) -> None:
    """Read what has arrived: of psycopg 3, or psycopg2."""
    if hasattr(raw, "add_notify_handler"):
        raw.pgconn.consume_input()
        while raw.pgconn.notifies() is not None:
            pass
    else:
        raw.poll()
