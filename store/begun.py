"""Tasks that begin at once, as asyncio's own can from Python 3.12 on: most of what is asked of a process need not wait.

What a task does before it waits for the first time is done when it is begun, in the task and in its context, as all the
rest is. So nothing that need not wait takes a turn of the event loop.
"""

import asyncio
from asyncio import _enter_task, _leave_task, current_task, get_running_loop  # for who extends asyncio, as it documents
from collections.abc import Coroutine, Generator
from contextvars import copy_context
from typing import Any


def begin(work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any] | None":
    """Begin `work`; gives the task that goes on with it, None where it was over at once. Raises what it does until it
    waits."""
    loop, context, before = get_running_loop(), copy_context(), current_task()
    begun = _Begun(work)
    task = loop.create_task(begun, context=context)
    if before is not None:
        _leave_task(loop, before)
    _enter_task(loop, task)
    try:
        context.run(begun.begin)
    finally:
        _leave_task(loop, task)
        if before is not None:
            _enter_task(loop, before)
    return None if begun.over else task


class _Begun(Coroutine[Any, Any, Any]):
    """A coroutine that waits already when its task takes the first step."""

    __slots__ = ("_waits_for", "_work", "over")

    def __init__(self, work: Coroutine[Any, Any, Any]) -> None:
        self._work = work
        self._waits_for: Any = None
        self.over = True  # nothing is left for the task

    def begin(self) -> None:
        """Run until it waits."""
        try:
            self._waits_for = (self._work.send(None),)
        except StopIteration:
            pass
        else:
            self.over = False

    def send(self, value: Any) -> Any:
        if self._waits_for is not None:
            (waits_for,), self._waits_for = self._waits_for, None
            return waits_for
        if self.over:
            raise StopIteration
        return self._work.send(value)

    def throw(self, *error: Any) -> Any:
        self._waits_for = None
        if self.over:
            raise StopIteration
        return self._work.throw(*error)

    def close(self) -> None:
        self._work.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        raise RuntimeError("only its task goes on with it")
