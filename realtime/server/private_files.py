"""What this machine keeps between starts is its owner's alone: directories 0700, files 0600, whatever the umask says.

Secrets, sessions, messages and the API key's file stand there. What was made with wider rights, by an older version or
by hand, is mended at each start. Imports nothing of Django.
"""

import hashlib
import logging
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

logger = logging.getLogger("flotilla.realtime.private")

OTHERS = 0o077  # the rights of the group and of everybody
UMASK = 0o077  # of children that write there


def private_folder(folder: Path) -> None:
    """Make a directory that is the owner's alone, or mend one that is there. Raises OSError where it cannot be made."""
    for parent in reversed(folder.absolute().parents):
        if not parent.exists():
            parent.mkdir(mode=0o755, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    _mend(folder)


def path_of_processes(kind: str, *of: str) -> Path:
    """Where this user's processes on this host meet while they run: a path that is the same for all who name the same.
    Raises OSError where its folder cannot be made, or is somebody else's."""
    digest = hashlib.blake2b("\0".join(of).encode(), digest_size=8).hexdigest()
    return _temporary_folder() / f"{digest}.{kind}"


def _temporary_folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"flotilla-{os.getuid()}"
    private_folder(folder)
    found = folder.lstat()
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode) or stat.S_IMODE(found.st_mode) & OTHERS:
        raise OSError(f"{folder} is not a folder of this user alone")
    return folder


def private_socket(path: Path) -> socket.socket:
    """A socket that is bound there. Raises OSError."""
    made = socket.socket(socket.AF_UNIX)
    try:
        os.fchmod(made.fileno(), 0o600)  # before: the file has its rights from its first moment on
        made.bind(str(path))
    except OSError:
        made.close()
        raise
    return made


def private_tree(folder: Path) -> None:
    """As `private_folder`, with everything in it."""
    private_folder(folder)
    if not _is_shared(folder.stat()):
        for path in _inside(folder):
            _mend(path)


def private_files(*paths: Path) -> None:
    """Mend those files that are there."""
    for path in paths:
        _mend(path)


def _inside(folder: Path) -> Iterator[Path]:
    for home, folders, files in os.walk(folder):  # follows no links
        for name in (*folders, *files):
            yield Path(home, name)


def _mend(path: Path) -> None:
    try:
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode) or not stat.S_IMODE(found.st_mode) & OTHERS:
            return
        if _is_shared(found):
            logger.warning("%s can be read by others, and is not ours to change: keep nothing else there", path)
            return
        path.chmod(stat.S_IMODE(found.st_mode) & ~OTHERS)
    except FileNotFoundError:
        return  # gone meanwhile
    except OSError as error:
        logger.warning("%s can be read by others, and cannot be changed: %s", path, error.strerror)


def _is_shared(found: os.stat_result) -> bool:
    """Somebody else's, or a directory for everybody as /tmp is."""
    return found.st_uid != os.getuid() or bool(stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX)
