"""Names of a test run's own: what tests write must not meet what runs on the same Redis, nor other workers' tests.

After `begin`, the names of this process in Redis have a prefix that no other process has, and where no Redis is
configured the engine in the process is used. `renew` gives other names again: what was before is not there any more.
`flotilla.store.test_run` begins it, and removes what was written when the run ends.
"""

import os
import secrets
from itertools import count

from flotilla import conf

OF_TESTS = {"rate_limit_background_sync": False, "metrics_port": 0, "relay": False}
"""Keys of FLOTILLA that tests have: no thread keeps a connection to their database, no port is opened."""

_numbers = count(1)
_run, _number = "", 0


def begin() -> None:
    """This process runs tests, and so do those that are forked from it. Saying it again changes nothing."""
    global _run
    if not _run:
        _run = secrets.token_hex(4)
        conf.set_for_this_process(**OF_TESTS)


def begun() -> bool:
    """Whether this process runs tests."""
    return bool(_run)


def renew() -> None:
    """Other names from now on. Who has made connections forgets them as well (`flotilla.store.shards.reset_store`)."""
    global _number
    _number = next(_numbers)
    conf.reset()


def own(prefix: str) -> str:
    """A prefix as this process has it: the configured one, and while it runs tests a part of its own."""
    return f"{prefix}-{mark()}{os.getpid()}-{_number}" if _run else prefix


def mark() -> str:
    """What the names of this run's processes have in common, and no others have."""
    return f"test-{_run}-"


os.register_at_fork(after_in_child=lambda: conf.reset() if _run else None)  # the prefix names the process
