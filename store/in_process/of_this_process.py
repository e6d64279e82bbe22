"""The engine of this process: started when it is first asked for, ended with the process.

A process that was forked afterwards (a worker of a pool) has the address too, and reaches the engine of its parent.
"""

import atexit
import importlib.util
import logging
import os
import threading
from typing import TYPE_CHECKING, Optional

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from flotilla.store import isolation

if TYPE_CHECKING:
    from flotilla.store.in_process.listener import Engine

logger = logging.getLogger("flotilla.store.in_process")

NEEDS_LUPA = (
    "the engine in the process needs the package lupa, which runs its Lua scripts: "
    "pip install 'django-flotilla[testing]', or give a Redis in FLOTILLA[\"redis_url\"]"
)

_lock = threading.Lock()
_engine: Optional["Engine"] = None
_owner = 0


class InProcessUnavailable(ImproperlyConfigured):
    """The engine cannot run here. The text says why and what to do."""


def can_run() -> bool:
    """Whether what the engine needs is installed."""
    return importlib.util.find_spec("lupa") is not None


def engine() -> "Engine":
    """The engine of this process, started if it is not there yet. Raises InProcessUnavailable."""
    global _engine, _owner
    with _lock:
        if _engine is None:
            if not can_run():
                raise InProcessUnavailable(NEEDS_LUPA)
            from flotilla.store.in_process.listener import Engine

            _engine, _owner = Engine(), os.getpid()
            if not settings.DEBUG and not isolation.begun():
                logger.warning("the engine in this process is used instead of a Redis: it serves this process alone")
            atexit.register(_end)
        return _engine


def forget() -> None:
    """Have the engine of this process forget everything, if there is one."""
    if _engine is not None and _owner == os.getpid():
        _engine.forget()


def _end() -> None:
    if _engine is not None and _owner == os.getpid():
        _engine.close()


def _forked() -> None:
    if _engine is not None:
        _engine.abandon()


os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
os.register_at_fork(after_in_child=_forked)
