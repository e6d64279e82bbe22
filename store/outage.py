"""Whether a Redis is known to be silent, so that threads do not wait for it one after another.

The first call that gets no answer for long begins an outage. While it lasts, calls fail at once, and a thread of our
own asks Redis again, at growing pauses, until it says anything. So nobody's request waits to find out whether it is
back. A Redis that refuses connections needs none of this: its callers do not wait.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Any
from weakref import WeakMethod

from flotilla.store.backoff import Backoff
from flotilla.store.errors import StoreNotAsked, StoreRefused, StoreUnavailable

logger = logging.getLogger("flotilla.store.outage")

LONG = 0.5  # seconds without an answer that begin an outage
FIRST_PAUSE = 0.05  # seconds until Redis is asked again, at first and at most
MAX_PAUSE = 1.0
STALE = 5.0  # seconds: more than a question and a pause take


class Outage:
    """Of one Redis. `ask` is a method that makes a call and waits for its answer; its object is not kept alive by us.

    Where our thread does not run (the process was forked, or its server runs none), callers find out for themselves
    now and then.
    """

    def __init__(self, name: str, ask: Callable[[], Any], clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._ask = WeakMethod(ask)
        self._clock = clock
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._asking: threading.Thread | None = None
        self._asked_at = 0.0
        self._known = False

    @property
    def known(self) -> bool:
        """Whether Redis was silent when it was asked last, which was just now."""
        return self._known and self._clock() < self._asked_at + STALE

    def require_none(self) -> None:
        """Raise StoreNotAsked in an outage."""
        if self.known:
            raise StoreNotAsked(f"{self._name} is silent, and is asked again in the background")

    def silent(self, seconds: float, timeout: float) -> None:
        """A call of at most `timeout` seconds was given up after so many without an answer."""
        if seconds < min(LONG, timeout):
            return
        with self._lock:
            self._asked_at = self._clock()
            if not self._known:
                logger.warning("%s is silent: calls fail at once until it answers again", self._name)
                self._known = True
            if not self._ended.is_set() and (self._asking is None or not self._asking.is_alive()):
                self._asking = threading.Thread(target=self._keep_asking, name="flotilla-outage", daemon=True)
                with contextlib.suppress(RuntimeError):  # no thread can be had: callers find out for themselves
                    self._asking.start()

    def answered(self) -> None:
        """Redis said something."""
        if self._known:
            self._known = False
            logger.warning("%s answers again", self._name)

    def end(self) -> None:
        """Ask no more; what was known is forgotten."""
        self._ended.set()
        self._known = False

    def _keep_asking(self) -> None:
        backoff = Backoff(FIRST_PAUSE, MAX_PAUSE)
        while not self._ended.wait(backoff.next()) and self._known:
            if (ask := self._ask()) is None:  # whoever wanted to know is gone
                return
            try:
                ask()
            except StoreRefused:  # which is an answer
                break
            except StoreUnavailable:
                self._asked_at = self._clock()
            else:
                break
            finally:
                del ask  # or its object could not end while we wait
        if not self._ended.is_set():
            self.answered()
