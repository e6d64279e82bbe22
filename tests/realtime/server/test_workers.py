"""Workers on one host take the lowest number that is free, and it is free when they end, however they end."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from flotilla.realtime.server.workers import lock_file

ROOT = Path(__file__).resolve().parents[3]
WORKER = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
from pathlib import Path
from flotilla.realtime.server import workers
workers.lock_file = lambda *of: Path(sys.argv[1])
{before}
number = workers.name_worker()
assert workers.name_worker() == number
from flotilla.realtime.server.conf import get_server_config
from flotilla.store.conf import get_store_config
print(number, get_store_config().instance_id, get_server_config().metrics_port, flush=True)
{after}
sys.stdin.read()
"""
PORT = "from flotilla.conf import set_for_this_process; set_for_this_process(metrics_port=9400)"
FORK = "if not os.fork(): os.close(1); sys.stdin.read()"  # it outlives its parent's death

Start = Callable[..., tuple["subprocess.Popen[str]", list[str]]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a worker; gives its process, and its number, name and metrics port."""
    with ExitStack() as stack:

        def started(before: str = PORT, after: str = "", where: Path = tmp_path / "locks" / "a.workers") -> object:
            process = subprocess.Popen(
                [sys.executable, "-c", WORKER.format(before=before, after=after), str(where)],
                cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            stack.enter_context(process)
            stack.callback(process.kill)
            assert process.stdout is not None
            return process, process.stdout.readline().split()

        yield started  # type: ignore[misc]


def test_each_has_a_name_and_a_port_of_its_own(start: Start) -> None:
    assert [start()[1] for _ in range(3)] == [["0", "test", "9400"], ["1", "test-1", "9401"], ["2", "test-2", "9402"]]


def test_a_number_is_free_when_its_process_has_ended(start: Start) -> None:
    """Killed, and though a child that was forked from it is still there."""
    (first, said), (second, _) = start(after=FORK), start()
    assert said[0] == "0"
    first.kill()
    first.wait()
    assert start()[1][0] == "0"
    assert start()[1][0] == "2"
    assert second.stdin is not None
    second.stdin.close()
    second.wait()
    assert start()[1][0] == "1"


def test_without_metrics_there_are_none(start: Start) -> None:
    start()
    assert start(before="")[1] == ["1", "test-1", "0"]


def test_where_nothing_can_be_locked_the_name_stays(start: Start, tmp_path: Path) -> None:
    """A file system that can only be read, for one."""
    (tmp_path / "no folder").write_text("")
    assert start(where=tmp_path / "no folder" / "a.workers")[1] == ["0", "test", "9400"]


def test_projects_do_not_share_numbers() -> None:
    redises = ("redis://one:6379/0", "redis://other:6379/0")
    assert len({lock_file(prefix, "site", url) for prefix in ("flotilla", "mine") for url in redises}) == 4
