"""Durable publications: one becomes a row of the outbox, in the caller's transaction, and the relay sends it.

What is wrong with it is raised at once, as for any other; Redis is not asked.
"""

import logging
from functools import partial
from typing import Unpack

from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, InterfaceError, transaction

from flotilla import tracing
from flotilla.realtime import traces
from flotilla.realtime.api.publishing import require_publishable, watched
from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.engine.calls import NOWHERE, PublishKeywords
from flotilla.realtime.engine.publication import StreamPosition
from flotilla.realtime.outbox import rows
from flotilla.store import StoreUnavailable

logger = logging.getLogger("flotilla.publish")

WRITE = "outbox.write"


def is_durable(options: ChannelOptions, asked: bool | None, *, on_commit: bool = True) -> bool:
    """Whether a publication goes through the outbox: as was `asked`, else as the namespace says.

    Raises ValueError for one that is not to wait for its transaction.
    """
    durable = options.durable if asked is None else asked
    if durable and not on_commit:
        raise ValueError(
            "a durable publication is written in the transaction and sent after it: leave on_commit=False out, "
            "or say durable=False"
        )
    return durable


def store(
    channel: str, body: bytes, options: ChannelOptions, *, using: str | None, **keywords: Unpack[PublishKeywords]
) -> None:
    """Write a publication to the outbox of the database `using`, in its current transaction or in one of its own.

    Raises CommandError 107 for what could not be sent, ImproperlyConfigured where there is no outbox, and what the
    database raises.
    """
    require_publishable(body, options, keywords)
    span = tracing.current()
    if span is None:
        _write(channel, body, keywords, using)
        return
    with span.child(WRITE, traces.about(channel), sends=True).entered() as part:
        _write(channel, body, {**keywords, "trace": part.headers}, using)


async def astore(
    channel: str, body: bytes, options: ChannelOptions, **keywords: Unpack[PublishKeywords]
) -> StreamPosition:
    """`store` for the HTTP API, into the default database. Gives no position, as there is none yet.

    Raises StoreUnavailable, after a line in the log, where the database does not take it.
    """
    try:
        await sync_to_async(partial(store, channel, body, options, using=None, **keywords))()
    except (DatabaseError, InterfaceError, ImproperlyConfigured) as error:
        logger.error("a durable publication into %s was not written: %s", channel, error)
        raise StoreUnavailable(f"the outbox was not written: {error}") from error
    return NOWHERE


def _write(channel: str, body: bytes, keywords: PublishKeywords, using: str | None) -> None:
    told = watched(channel, body, keywords)
    with transaction.atomic(using=using, savepoint=False):
        rows.write(channel, body, keywords, using=using)
        for sent in told:  # as good as sent: where it will stand is not known yet
            transaction.on_commit(partial(sent, NOWHERE), using=using, robust=True)
