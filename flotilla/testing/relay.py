"""What stands in for the relay in tests: durable publications are sent at their commit, by the thread that committed.

A test's transaction is never committed, so a relay with a connection of its own would see nothing of it. Here rows are
read through the test's connection, as soon as the hooks of a commit run: in a `TestCase` inside of
`captureOnCommitCallbacks(execute=True)`. No lease, no rows that are sent again: the test's own rows, in their order.
"""

import logging
from typing import Any

from flotilla.realtime.conf import get_config
from flotilla.realtime.engine.broker import get_broker
from flotilla.realtime.outbox.order import give_positions_now
from flotilla.realtime.outbox.publications import Unsendable, ready
from flotilla.realtime.outbox.renderings import Renderings
from flotilla.realtime.outbox.waiting import Row, Sent, note_failed, note_sent, read
from flotilla.realtime.outbox.wake import written
from flotilla.store import get_store

logger = logging.getLogger("flotilla.outbox")


def begin() -> None:
    """From now on, what is committed is sent."""
    written.connect(deliver, dispatch_uid=__name__)


def end() -> None:
    """No more."""
    written.disconnect(dispatch_uid=__name__)


def deliver(using: str, **_: Any) -> None:
    """Send what waits in a database. A row that cannot be sent is set aside, and said in the log."""
    give_positions_now(using)
    while rows := read(using, lambda _: False, any_held=False):
        for row in rows:
            try:
                note_sent(using, [_send(row, using)])
            except Unsendable as error:
                note_failed(using, row, str(error), set_aside=True)
                logger.error("channel %s: row %d cannot be sent: %s", row.channel, row.id, error)


def _send(row: Row, using: str) -> Sent:
    one = ready(row, get_config(), Renderings([row], using))
    position = get_broker(get_store()).publish_sync(row.channel, one.body, one.options, **one.keywords)
    return Sent(row.id, position.epoch, position.offset)
