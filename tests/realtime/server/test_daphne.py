"""A process of our server under applications that know nothing of the platform: when each is told what of its life."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MAX_SECONDS = 30.0  # a busy machine may take for any one thing


class Served:
    """The process, what it says, and what it tells its supervisor."""

    def __init__(self, kind: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.telling, told = os.pipe()
        environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "LIFESPAN": kind,
            "OWN_PORT": str(self.port),
            "FLOTILLA_READY_FD": str(told),
        }
        listen = ["-b", "127.0.0.1", "-p", str(self.port), "--access-log", os.devnull]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flotilla.realtime.server.daphne", *listen,
             "tests.realtime.server.lifespan_application:application"],
            cwd=ROOT, env=environment, pass_fds=(told,), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        os.close(told)

    def ready(self) -> str:
        """What the supervisor is told when it can take clients; "" where the process ends before."""
        os.set_blocking(self.telling, True)
        return os.read(self.telling, 4096).decode()

    def get(self, path: str) -> str:
        """The answer to a request, made again while nobody listens."""
        deadline = time.monotonic() + MAX_SECONDS
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=MAX_SECONDS) as response:
                    return str(response.read().decode())
            except urllib.error.URLError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise
                time.sleep(0.02)

    def end(self) -> list[str]:
        """What it has said until its end."""
        self.process.send_signal(signal.SIGTERM)
        said, _ = self.process.communicate(timeout=MAX_SECONDS)
        return said.splitlines()


@pytest.fixture
def serve() -> Iterator[type[Served]]:
    """Ends those that a test has left."""
    with ExitStack() as stack:

        class Kept(Served):
            def __init__(self, kind: str) -> None:
                super().__init__(kind)
                stack.callback(os.close, self.telling)
                stack.callback(self.process.communicate)
                stack.callback(self.process.kill)

        yield Kept


def test_a_lifespan_holds_all_connections(serve: type[Served]) -> None:
    """None is accepted before it has begun, and each has its answer before it ends."""
    served = serve("plain")
    assert served.get("/") == "ok"
    assert served.ready() == "\n"  # it has no name to tell
    slow = threading.Thread(target=served.get, args=("/slow",))
    slow.start()
    assert served.process.stdout is not None
    said = [served.process.stdout.readline().strip() for _ in range(5)]
    assert said == ["lifespan.startup", "started", "request /", "response", "request /slow"]
    assert served.end() == ["response", "lifespan.shutdown"]
    assert served.process.returncode == 0
    slow.join()


def test_an_application_without_a_lifespan_is_served(serve: type[Served]) -> None:
    served = serve("none")
    assert served.ready() == "\n"
    assert served.get("/") == "ok"
    assert served.end() == ["request /", "response"]
    assert served.process.returncode == 0


def test_one_that_cannot_start_is_not_served(serve: type[Served]) -> None:
    """The process ends with the reason, and is never ready."""
    served = serve("fails")
    assert served.ready() == ""
    said, errors = served.process.communicate(timeout=MAX_SECONDS)
    assert said == "lifespan.startup\n"
    assert errors.strip().endswith("the application could not start: no disk")
    assert served.process.returncode == 1


def test_clients_are_sent_away_when_nobody_new_can_connect(serve: type[Served]) -> None:
    """And the supervisor is told the application's name once it is ready."""
    served = serve("clients")
    assert served.ready() == "life-of-mine\n"
    assert served.get("/") == "ok"
    *before, away, last = served.end()
    assert before == ["lifespan.startup", "started", "request /", "response"]
    assert (away, last) == ("send_away within 13, nobody new connects", "lifespan.shutdown")
