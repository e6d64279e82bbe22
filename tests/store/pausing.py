"""A Redis that hangs: its process is stopped, so that it takes what it is sent and answers nothing."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from tests.store.redis_process import RedisProcess


@contextmanager
def hung(redis: RedisProcess) -> Iterator[None]:
    """It hangs for the time of the block."""
    assert redis._process is not None
    pid = redis._process.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
