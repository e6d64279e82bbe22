"""Asking several Redises at the same time, from one thread.

Each is asked by a thread of its own, which keeps the deadline of the one that asks (`deadline`): so one that is silent
costs its own time and no other's. One alone is asked by the thread itself.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from flotilla.store.deadline import carried, deadline

AT_ONCE = 16  # threads; a cluster of more virtual shards is asked in turns

Answer = TypeVar("Answer")


def together(calls: Iterable[Callable[[], Answer]]) -> list[Answer]:
    """What all calls return, in their order. When all have ended, raises the first error in that order."""
    waiting = list(calls)
    if len(waiting) < 2:
        return [call() for call in waiting]
    by = deadline()

    def asked(call: Callable[[], Answer]) -> Answer:
        with carried(by):
            return call()

    with ThreadPoolExecutor(min(len(waiting), AT_ONCE), thread_name_prefix="flotilla-together") as threads:
        asking = [threads.submit(asked, call) for call in waiting]
    return [one.result() for one in asking]
