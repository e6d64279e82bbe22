"""The life of a serving process, for who must follow it: signals at its boot and its leaving, and whether it leaves.

Both signals are sent once with no arguments, before the first connection is accepted and before the listener is closed;
receivers may be coroutines. Management commands send neither.
"""

from django.dispatch import Signal

on_boot = Signal()
on_drain = Signal()

_leaving = False


def leave() -> None:
    """From now on this process should get no new clients."""
    global _leaving
    _leaving = True


def is_leaving() -> bool:
    """Whether this process was told to end."""
    return _leaving
