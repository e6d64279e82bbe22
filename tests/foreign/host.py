"""A command beside `manage.py serve` on localhost:8000, where the SDKs' own suites expect their server.

Run as a script, in a network of its own where the system allows one, so that the port is free whatever else runs on the
machine. Elsewhere it is the machine's port, for one suite at a time. Ends with the command's exit code, or with
NOT_SERVED when the platform did not start; its log says why.
"""

import contextlib
import fcntl
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent.parent
PORT = 8000
NOT_SERVED = 97
READY_WITHIN = 60.0  # seconds
STOP_WITHIN = 30.0
NETWORK_OF_ITS_OWN = ["unshare", "--map-root-user", "--net"]
_SET_FLAGS, _UP = 0x8914, 0x1  # SIOCSIFFLAGS, IFF_UP


def command_line(log: Path, *words: str) -> list[str]:
    """What to run so that `words` run beside the platform, which writes to `log`."""
    enter = NETWORK_OF_ITS_OWN if _own_network_allowed() else []
    return [*enter, sys.executable, __file__, "own" if enter else "shared", str(log), *words]


def _own_network_allowed() -> bool:
    if shutil.which(NETWORK_OF_ITS_OWN[0]) is None:
        return False
    return subprocess.run([*NETWORK_OF_ITS_OWN, "true"], capture_output=True).returncode == 0


def main(network: str, log: str, *words: str) -> int:
    """Serve, run the command, and stop serving, on SIGTERM as well."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    prepared = _own_network() if network == "own" else _shared_network()
    with Path(log).open("wb") as output, prepared as free:
        if not free:
            output.write(
                f"port {PORT} is taken by another process, and no network of its own is allowed here\n".encode()
            )
            return NOT_SERVED
        with _platform(output) as ready:
            return subprocess.run(words).returncode if ready else NOT_SERVED


@contextlib.contextmanager
def _own_network() -> Iterator[bool]:
    """Switches the new network's loopback on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh14x", b"lo", _UP))
    yield True


@contextlib.contextmanager
def _shared_network() -> Iterator[bool]:
    """One suite after the other; gives whether the port is free."""
    with (Path(tempfile.gettempdir()) / "flotilla-foreign-suites.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", PORT))
                free = True
            except OSError:
                free = False
        yield free


@contextlib.contextmanager
def _platform(output: IO[bytes]) -> Iterator[bool]:
    """The platform as users run it, with an embedded Redis; gives whether it became ready."""
    serve = subprocess.Popen([sys.executable, "manage.py", "serve"], cwd=ROOT, stdout=output, stderr=output)
    try:
        yield _becomes_ready(serve)
    finally:
        serve.send_signal(signal.SIGTERM)
        try:
            serve.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            serve.kill()


def _becomes_ready(serve: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + READY_WITHIN
    while serve.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://localhost:{PORT}/health/ready", timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    return False


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
