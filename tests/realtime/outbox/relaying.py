"""What tests of the relay do over and over: channels with and without history, rows written, and what Redis has."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

from django.db import connections, transaction

from flotilla.realtime.access.channels import options_for
from flotilla.realtime.conf import get_config
from flotilla.realtime.engine.broker import Broker
from flotilla.realtime.outbox.relay import Relay
from flotilla.realtime.outbox.rows import write
from flotilla.store import Store
from tests.waiting import wait_until

REALTIME = {
    "namespaces": {
        "kept": {"history_size": 100_000, "history_ttl": 600},
        "plain": {},
        "short": {"history_size": 100, "history_ttl": 600},
    },
    "outbox_attempts": 3,
}
WITHIN = 20.0  # seconds: how long a busy machine may take


def put(using: str, channel: str, *numbers: int, **keywords: Any) -> None:
    """Write rows into a channel, each in a transaction of its own."""
    for number in numbers:
        with transaction.atomic(using=using):
            write(channel, b'{"data":%d}' % number, keywords, using=using)


def stream(store: Store, channel: str) -> list[Any]:
    """The data of the publications that a channel's stream has."""
    page = Broker(store).history_sync(channel, options_for(channel, get_config()), limit=-1)
    return [json.loads(one.body)["data"] for one in page.publications]


def until(condition: Callable[[], Any], what: str = "") -> Any:
    """Wait until something is true."""
    return wait_until(condition, what or repr(condition), WITHIN, every=0.01)


class Running:
    """A relay in a thread, as in a serving process."""

    def __init__(self, using: str, store: Store) -> None:
        self.relay = Relay(using, store)
        self._thread = Thread(target=self.relay.run, daemon=True)

    def __enter__(self) -> Relay:
        self._thread.start()
        return self.relay

    def __exit__(self, *_: object) -> None:
        self.relay.stop()
        self._thread.join(WITHIN)
        assert not self._thread.is_alive()


@contextmanager
def a_relay(using: str, store: Store) -> Iterator[Relay]:
    """A relay whose turns the test takes."""
    relay = Relay(using, store)
    try:
        yield relay
    finally:
        relay.end()
        connections[using].ensure_connection()


def relay_all(using: str, store: Store, within: float = WITHIN) -> None:
    """Send all that waits, by a relay of its own."""
    with a_relay(using, store) as relay:
        assert relay.once(within), "something still waits"
