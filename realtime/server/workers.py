"""Which of several processes on this host a worker of another server is: its name in the cluster, its metrics port.

`manage.py serve` names its instances and gives each a metrics port. Other servers start workers that know nothing of
each other, all with the same settings. So each takes the lowest number that no other has: number 0 keeps the name and
the port of the settings, number 1 is `name-1` at the next port, and so on. A number is a lock on a byte of a file,
which the kernel releases when its process ends, however it ends; a forked child does not inherit it. A worker that is
replaced while its successor starts has its number until it is gone: names and ports change over time, but stay few.
"""

import fcntl
import logging
import os
from pathlib import Path

from flotilla.conf import set_for_this_process
from flotilla.realtime.server.conf import get_server_config
from flotilla.realtime.server.private_files import path_of_processes, private_folder
from flotilla.store.conf import get_store_config

logger = logging.getLogger("flotilla.realtime.server")

MAX_WORKERS = 256  # on one host

_number: tuple[int, int] | None = None  # the process that has one, and which


def name_worker() -> int:
    """Give this process a name and a metrics port that no other worker of its project on this host has; returns its
    number. Doing so again changes nothing. Where no file can be locked, the settings' name and port stay."""
    global _number
    if _number is None or _number[0] != os.getpid():
        _number = (os.getpid(), 0)
        try:
            _number = (os.getpid(), _take())
        except OSError as error:
            logger.warning("workers on this host have the same name, for no file could be locked: %s", error)
    return _number[1]


def lock_file(*of: str) -> Path:
    """The file in which workers of one project under one name take their numbers. Raises OSError."""
    return path_of_processes("workers", *of)


def _take() -> int:
    store, server = get_store_config(), get_server_config()
    number = lock(lock_file(store.prefix, store.instance_id, *store.redis_urls))
    if number:
        port = server.metrics_port and min(server.metrics_port + number, 65535)
        set_for_this_process(instance_id=f"{store.instance_id}-{number}", metrics_port=port)
        logger.info("%s is another worker's name: this one is %s-%d", store.instance_id, store.instance_id, number)
    return number


def lock(path: Path) -> int:
    """The lowest number that is free, locked until this process ends; the descriptor stays open. Raises OSError."""
    private_folder(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    for number in range(MAX_WORKERS):
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
        except (BlockingIOError, PermissionError):  # which of the two is the system's choice
            continue
        return number
    os.close(descriptor)
    raise OSError(f"{MAX_WORKERS} processes have locked it")
