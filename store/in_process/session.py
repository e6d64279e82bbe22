"""One connection to the engine: what it asked, what it hears, and what waits to be sent to it.

Commands of a connection are run in order. One that waits (BLPOP) holds up those behind it, and nobody else.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

import hiredis

from flotilla.store.in_process.database import Database
from flotilla.store.in_process.replies import RESP2, Error, Push, Reply, encode

logger = logging.getLogger("flotilla.store.in_process")

MAX_UNREAD = 32 * 1024 * 1024  # bytes that may wait for a connection that does not read, as Redis has it for pub/sub
_NOT_YET = object()
_numbers = count(1)


class Waiting:
    """For an element of one of some lists, until a moment of the monotonic clock (None: for ever)."""

    def __init__(self, lists: frozenset[bytes], taken: Callable[[], Reply], until: float | None) -> None:
        self.lists = lists
        self.taken = taken
        self.until = until


class Session:
    """`all` gives the sessions of the engine; `out` has the bytes to be sent."""

    def __init__(self, db: Database, everybody: Callable[[], Iterable["Session"]], password: bytes = b"") -> None:
        self.db = db
        self.all = everybody
        self.password = password
        self.known = not password  # whether it has logged in
        self.number = next(_numbers)
        self.name = b""
        self.last = b""  # the command that it sent last
        self.protocol = RESP2
        self.ending = False
        self.topics: dict[bytes, None] = {}
        self.patterns: dict[bytes, None] = {}
        self.out = bytearray()
        self.waiting: Waiting | None = None
        self._reader: Any = hiredis.Reader(notEnoughData=_NOT_YET)
        self._asked: deque[list[bytes]] = deque()

    @property
    def subscribed(self) -> int:
        """How many topics and patterns it hears."""
        return len(self.topics) + len(self.patterns)

    def feed(self, data: bytes) -> None:
        """Take what was received, and run the commands that are complete."""
        self._reader.feed(data)
        while (words := self._reader.gets()) is not _NOT_YET:
            if not isinstance(words, list) or set(map(type, words)) - {bytes}:
                raise hiredis.ProtocolError("a command is an array of bulk strings")
            if words:
                self._asked.append(words)
        self.go_on()

    def go_on(self) -> None:
        """Run what was asked, up to a command that waits."""
        while self._asked and self.waiting is None and not self.ending:
            self.answer(self._run(self._asked.popleft()))

    def _run(self, words: list[bytes]) -> Reply:
        self.db.keys.step()
        try:
            command = self.db.command(words)
            self.last = command.name.lower().encode()
            if not self.known and command.name not in ("AUTH", "HELLO", "QUIT"):
                raise Error("NOAUTH Authentication required.")
            return command.run(self if command.of_session else self.db, *words[1:])
        except Error as error:
            return error
        except Exception as error:  # a mistake in the engine ends no other connection
            logger.exception("the engine in the process failed in %s", words[0].decode(errors="replace"))
            return Error(f"ERR the engine in the process failed: {error!r}")

    def answer(self, reply: Reply) -> None:
        """Send a reply."""
        self.out += encode(reply, self.protocol)

    def push(self, message: Push) -> None:
        """Send something that was not asked for. Who does not read is cut off."""
        self.answer(message)
        if len(self.out) > MAX_UNREAD:
            self.ending = True

    def wait(self, lists: frozenset[bytes], taken: Callable[[], Reply], seconds: float) -> None:
        """Run nothing more until `taken` gives a reply, or for so many seconds (0: for ever)."""
        self.waiting = Waiting(lists, taken, time.monotonic() + seconds if seconds else None)

    def look(self) -> None:
        """One of the lists that are waited for may have an element now, or the time is over."""
        waiting = self.waiting
        if waiting is None:
            return
        self.db.keys.step()
        found: Reply
        try:
            found = waiting.taken()
        except Error as error:
            found = error
        if found is not None or (waiting.until is not None and time.monotonic() >= waiting.until):
            self.waiting = None
            self.answer(found)
            self.go_on()

    def end(self) -> None:
        """It is gone."""
        self.db.subscriptions.leave(self)

    def line(self) -> bytes:
        """As CLIENT LIST tells it."""
        flags = b"P" if self.subscribed else b"N"
        told = (self.number, self.name, flags, len(self.topics), len(self.patterns), len(self.out), self.last)
        return b"id=%d name=%b flags=%b sub=%d psub=%d omem=%d cmd=%b\n" % told
