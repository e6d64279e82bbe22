"""All relays of a process: one for each database that may have an outbox, each in a thread of its own.

A thread because databases are asked in threads, and because one that hangs must hold up neither the event loop nor the
others. It ends with the process, whatever it waits for.
"""

import logging
import threading
from typing import Any

from flotilla.realtime.outbox.backlog import databases
from flotilla.realtime.outbox.relay import Relay
from flotilla.realtime.outbox.stats import forget
from flotilla.realtime.outbox.wake import written
from flotilla.store import Store

logger = logging.getLogger("flotilla.outbox")


class Relays:
    """From `start` to `close`; `stop` has them end soon, and the lease is free for another process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._relays: dict[str, Relay] = {}
        self._threads: list[threading.Thread] = []

    def start(self, aliases: list[str] | None = None) -> None:
        """Begin, with all databases or these."""
        for alias in databases() if aliases is None else aliases:
            relay = self._relays[alias] = Relay(alias, self._store)
            thread = threading.Thread(target=relay.run, name=f"flotilla-relay-{alias}", daemon=True)
            self._threads.append(thread)
            thread.start()
        written.connect(self._written, dispatch_uid=self)

    def stop(self) -> None:
        """Have them end, without waiting for it."""
        written.disconnect(dispatch_uid=self)
        for relay in self._relays.values():
            relay.stop()

    def close(self, within: float) -> None:
        """Have them end, and wait for it for so many seconds: a thread that waits for a database is left behind."""
        self.stop()
        for thread in self._threads:
            thread.join(within)
            if thread.is_alive():
                logger.warning("%s does not end: its database or its Redis does not answer", thread.name)
        self._threads.clear()
        self._relays.clear()
        forget()

    def _written(self, using: str, **_: Any) -> None:
        if (relay := self._relays.get(using)) is not None:
            relay.wake()
