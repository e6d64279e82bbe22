"""Django signals of a process that serves: `on_boot` before its application is started, `on_drain` before its listener
is closed, or as early as a server lets us know.

They are sent without arguments, once each, under whichever server (`boot`, `leave`); management commands do not send
them. Receivers may be coroutines. One of `on_boot` that fails ends the start; those of `on_drain` have a second, and a
failure is logged.
"""

import asyncio
import logging
import os

from django.dispatch import Signal

logger = logging.getLogger("flotilla.realtime.drain")

RELEASE_WITHIN = 1.0  # seconds that receivers of on_drain may take

on_boot = Signal()
on_drain = Signal()

_booted = 0  # the process in which on_boot was sent: one that was forked from it is another


async def boot() -> None:
    """Send `on_boot`, unless it was sent in this process. Raises what a receiver raises."""
    global _booted
    if _booted != os.getpid():
        _booted = os.getpid()
        await on_boot.asend(sender=None)


async def leave() -> None:
    """Send `on_drain`: this process gets no new clients."""
    global _booted
    _booted = 0
    try:
        async with asyncio.timeout(RELEASE_WITHIN):
            for receiver, result in await on_drain.asend_robust(sender=None):
                if isinstance(result, Exception):
                    logger.error("%r failed at the drain", receiver, exc_info=result)
    except TimeoutError:
        logger.warning("what had to be released at the drain was not, within %g s", RELEASE_WITHIN)
