"""Programs that a drill starts, breaks and ends; each writes to a log of its own, and none outlives the drill."""

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import flotilla
from flotilla.realtime.server.parent_death import launch

ROOT = Path.cwd()  # of the installation: where `manage.py` was started
LOOK_EVERY = 0.1  # seconds
STOP_WITHIN = 20.0


class DrillFailed(Exception):
    """What was waited for did not happen, or something that is needed is not there."""


def require_service() -> None:
    """Raises DrillFailed where only the platform is installed: a cluster made for a run is of the service around it."""
    checkout = Path(flotilla.__file__).resolve().parents[1]
    if not (checkout / "project" / "settings.py").is_file():
        raise DrillFailed(
            "a cluster of its own is made of the service that a checkout of Flotilla has beside the package"
            " (project/ and its manage.py), which is not here: run this in a checkout"
        )


def wait_for(condition: Callable[[], Any], what: str, within: float) -> Any:
    """Wait until `condition()` is true and return what it gave. Raises DrillFailed."""
    deadline = time.monotonic() + within
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise DrillFailed(f"not within {within:g} s: {what}")
        time.sleep(LOOK_EVERY)
    return found


def program(*names: str) -> str:
    """The first of these programs that is installed. Raises DrillFailed."""
    for name in names:
        found = shutil.which(name)
        if found is not None:
            return found
    raise DrillFailed(f"{names[0]} is not installed; a drill needs the real one")


def free_ports(count: int) -> list[int]:
    """So many ports nobody listens on."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def port_and_row(count: int) -> list[int]:
    """A free port, and so many free ones in a row, for the metrics of instances of one supervisor."""
    while True:
        port, first = free_ports(2)
        row = range(first, first + count)
        with contextlib.suppress(OSError, OverflowError), contextlib.ExitStack() as stack:
            for one in (port, *row):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", one))
            return [port, *row]


class Program:
    """One program. It may be started again after its end; its log goes on."""

    def __init__(
        self, name: str, home: Path, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self._log = home / f"{name}.log"
        self._command = list(command)
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs or before it was started."""
        return self._process.poll() if self._process is not None else None

    def start(self) -> None:
        """Start it; it is killed when this process dies."""
        command = launch(signal.SIGKILL, self._command)
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=self._environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self._process is not None and self.running:
            self._process.send_signal(number)

    def kill(self) -> None:
        """End it as a crash would."""
        self.send(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def stop(self) -> None:
        """End it in order, or else by force."""
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        if self._process is not None:
            try:
                self._process.wait(STOP_WITHIN)
            except subprocess.TimeoutExpired:
                self.kill()

    def tail(self, lines: int = 15) -> str:
        """The end of its log."""
        return "\n".join([f"----- {self.name} -----", *self.text().splitlines()[-lines:]])

    def text(self) -> str:
        """Its whole log."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""
