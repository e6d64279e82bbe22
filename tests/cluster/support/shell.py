"""A shell of the cluster tests: a process with the settings of the instances, in which one command after another is
run. A command starts in no time, and ends as for anybody: with a status, and what it wrote.

Run as a module it takes a JSON list of words a line, and answers with a JSON list of status, standard output and error.
"""

import contextlib
import io
import json
import subprocess
import sys
import threading
from typing import NamedTuple

from tests.cluster.support.processes import ROOT


class Ended(NamedTuple):
    """What a command ended with."""

    status: int
    out: str
    err: str


class Shell:
    """The process, for as long as a block. `run` blocks, and may be called from any thread."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._lock = threading.Lock()

    def __enter__(self) -> "Shell":
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()  # the end of its input is its own

    def run(self, *words: str) -> Ended:
        """Run a command to its end."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(words) + "\n")
            self._process.stdin.flush()
            return Ended(*json.loads(self._process.stdout.readline()))


def serve() -> None:
    """Run what is asked."""
    from django.core.management import ManagementUtility

    for line in sys.stdin:
        out, err, status = io.StringIO(), io.StringIO(), 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                ManagementUtility(["manage.py", *json.loads(line)]).execute()
            except SystemExit as end:
                status = int(end.code or 0)
        print(json.dumps([status, out.getvalue(), err.getvalue()]), flush=True)


if __name__ == "__main__":
    serve()
