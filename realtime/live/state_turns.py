"""How many states are read at a time in this process. After an outage every page loads at once; each that is read holds
a connection of the database, so the others wait for their turn, and those that would wait too long are sent away."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Busy(Exception):
    """Too many states are being read here."""


class Turns:
    """`at_once` readers, `waiting` that wait for one of them to end, for `patience` seconds at most. For threads."""

    def __init__(self, at_once: int, waiting: int, patience: float) -> None:
        self._known = threading.BoundedSemaphore(at_once + waiting)
        self._reading = threading.BoundedSemaphore(at_once)
        self._patience = patience

    @property
    def full(self) -> bool:
        """Whether the next one would be sent away at once."""
        if free := self._known.acquire(blocking=False):
            self._known.release()
        return not free

    @contextmanager
    def one(self) -> Iterator[None]:
        """Have a turn. Raises Busy."""
        if not self._known.acquire(blocking=False):
            raise Busy
        try:
            if not self._reading.acquire(timeout=self._patience):
                raise Busy
            try:
                yield
            finally:
                self._reading.release()
        finally:
            self._known.release()
