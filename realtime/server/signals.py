"""Django signals of a process that serves: `on_boot` before its application is started, `on_drain` before its listener
is closed, or as early as a server lets us know, `on_end` when its clients have gone and it has nothing more to do.

They are sent without arguments, once each, under whichever server (`boot`, `leave`, `end`); management commands do not
send them. Receivers may be coroutines. One of `on_boot` that fails ends the start; those of `on_drain` have a second,
those of `on_end` what is left of the deadline, and a failure is logged.
"""

import asyncio
import logging
import os

from django.dispatch import Signal

logger = logging.getLogger("flotilla.realtime.drain")

RELEASE_WITHIN = 1.0  # seconds that receivers of on_drain may take

on_boot = Signal()
on_drain = Signal()
on_end = Signal()

_booted = 0  # the process in which on_boot was sent: one that was forked from it is another
_left = False  # on_drain was sent, and on_end is still due


async def boot() -> None:
    """Send `on_boot`, unless it was sent in this process. Raises what a receiver raises."""
    global _booted
    if _booted != os.getpid():
        _booted = os.getpid()
        await on_boot.asend(sender=None)


async def leave() -> None:
    """Send `on_drain`: this process gets no new clients."""
    global _booted, _left
    _booted, _left = 0, True
    try:
        async with asyncio.timeout(RELEASE_WITHIN):
            await _send(on_drain)
    except TimeoutError:
        logger.warning("what had to be done when the drain began was not, within %g s", RELEASE_WITHIN)


async def end() -> None:
    """Send `on_end`, once after `leave`: this process has no clients any more. The caller bounds its time."""
    global _left
    if _left:
        _left = False
        await _send(on_end)


async def _send(signal: Signal) -> None:
    for receiver, result in await signal.asend_robust(sender=None):
        if isinstance(result, Exception):
            logger.error("%r failed at the drain", receiver, exc_info=result)
