"""The metrics port goes from one process to the next: here two exporters of one test, as of two processes."""

import asyncio
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from flotilla.monitoring.exporter import Exporter
from flotilla.monitoring.figures import WithOthers, figures_of
from flotilla.monitoring.succession import Meeting
from flotilla.realtime.server import private_files
from tests.waiting import wait_until

PATIENCE = 30.0
PREDECESSOR = """
import sys, threading
from pathlib import Path
from prometheus_client import Counter, Gauge
from flotilla.monitoring.exporter import Exporter
from flotilla.monitoring.succession import Meeting
done = Counter("done", "What was done.")
Gauge("app_ready", "Of the instance.").set(0)
exporter = Exporter("127.0.0.1", int(sys.argv[1]), Meeting(Path(sys.argv[2])))
exporter.start()
assert exporter.opened.wait(30)
print(exporter.port, flush=True)
for line in sys.stdin:
    exporter.drain() if line == "drain\\n" else done.inc()
    print("did", flush=True)
"""


@dataclass
class Predecessor:
    """Another process that has the port."""

    process: "subprocess.Popen[str]"
    port: int

    def do(self, what: str) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "did\n"


@pytest.fixture
def meeting(tmp_path: Path) -> Meeting:
    return Meeting(tmp_path / "m")


Start = Callable[..., Predecessor]


@pytest.fixture
def start(meeting: Meeting) -> Iterator[Start]:
    """Starts a process that has the port."""
    started: list[subprocess.Popen[str]] = []

    def begin(port: int = 0) -> Predecessor:
        command = [sys.executable, "-c", PREDECESSOR, str(port), str(meeting.path)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        return Predecessor(process, int(process.stdout.readline()))

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def successor(meeting: Meeting) -> Iterator[Callable[[int], Exporter]]:
    """Makes this process the next one."""
    made: list[Exporter] = []

    def begin(port: int) -> Exporter:
        made.append(Exporter("127.0.0.1", port, meeting))
        made[-1].start()
        return made[-1]

    yield begin
    for exporter in made:
        exporter.close()


def read(port: int, query: str = "") -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics{query}", timeout=PATIENCE) as response:
        return str(response.read().decode())


def until(condition: Callable[[], object], what: str) -> None:
    wait_until(condition, what, PATIENCE)


def test_the_port_is_given_when_its_process_drains(start: Start, successor: Callable[[int], Exporter]) -> None:
    """Not before; and it is bound all the time."""
    old = start()
    refused = threading.Event()
    over = threading.Event()

    def connect() -> None:
        while not over.is_set():
            try:
                socket.create_connection(("127.0.0.1", old.port), PATIENCE).close()
            except OSError:
                refused.set()

    trying = threading.Thread(target=connect, daemon=True)
    trying.start()
    new = successor(old.port)
    assert not new.opened.wait(1.0), "the old one serves"
    old.do("drain")
    assert new.opened.wait(PATIENCE)
    over.set()
    trying.join()
    assert not refused.is_set()


def test_figures_of_both_are_told_until_the_old_one_has_ended(
    start: Start, successor: Callable[[int], Exporter]
) -> None:
    """Its own with their labels, also such as were counted later; what is said of the instance is the new one's."""
    old = start()
    old.do("count")
    assert "\ndone_total 1.0" in read(old.port)
    new = successor(old.port)
    old.do("drain")
    assert new.opened.wait(PATIENCE)
    old.do("count")
    text = read(old.port)
    assert f'done_total{{pid="{old.process.pid}",process="draining"}} 2.0' in text
    assert "\ndone_total 2.0" not in text
    assert not re.search(r"^app_ready\{", text, re.MULTILINE)
    assert text.count("# TYPE python_info gauge") == 1
    assert len(re.findall(r"^python_info\{", text, re.MULTILINE)) == 2
    alone = read(old.port, "?name[]=done_total")
    assert [line.split("{")[0] for line in alone.splitlines() if not line.startswith("#")] == ["done_total"]
    old.process.kill()
    old.process.wait()
    until(lambda: 'process="draining"' not in read(old.port), "it has ended")


def test_a_successor_of_a_successor(start: Start, successor: Callable[[int], Exporter]) -> None:
    """Two that drain are told apart."""
    first = start()
    second = start_second(start, first)
    new = successor(first.port)
    second.do("drain")
    assert new.opened.wait(PATIENCE)
    text = read(first.port)
    for one in (first, second):
        assert f'done_total{{pid="{one.process.pid}",process="draining"}} 0.0' in text


def start_second(start: Start, first: Predecessor) -> Predecessor:
    """One that is given the port."""
    draining = threading.Timer(0.5, first.do, ("drain",))
    draining.start()
    second = start(first.port)
    draining.join()
    return second


def test_a_process_that_crashes_leaves_the_port_free(start: Start, successor: Callable[[int], Exporter]) -> None:
    old = start()
    new = successor(old.port)
    assert not new.opened.wait(0.5)
    old.process.kill()
    assert new.opened.wait(PATIENCE)
    assert 'process="draining"' not in read(new.port)


def test_a_stranger_is_given_nothing(start: Start, tmp_path: Path) -> None:
    """Who is another instance waits until the port is free."""
    old = start()
    old.do("drain")
    stranger = Exporter("127.0.0.1", old.port, Meeting(tmp_path / "another"))
    stranger.start()
    assert not stranger.opened.wait(1.5)
    old.process.kill()
    assert stranger.opened.wait(PATIENCE)
    stranger.close()


def test_one_that_asks_and_dies_has_taken_nothing(start: Start, meeting: Meeting) -> None:
    """The old one goes on serving."""
    old = start()
    old.do("drain")
    (path,) = meeting.others()
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(path))
        asking.sendall(b"port\n")
        asking.settimeout(PATIENCE)
        _, descriptors, _, _ = socket.recv_fds(asking, 1, 1)
        assert len(descriptors) == 1
        os.close(descriptors[0])
    assert "done_total 0.0" in read(old.port)


@pytest.mark.parametrize("question", [b"", b"nonsense\n", b"x" * (1 << 17), b"figures \xff\xff\n"])
def test_nonsense_is_answered_by_nothing(start: Start, meeting: Meeting, question: bytes) -> None:
    old = start()
    (path,) = meeting.others()
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(PATIENCE)
        asking.connect(str(path))
        try:
            asking.sendall(question)
            assert asking.recv(1) == b""
        except ConnectionError:
            pass  # closed before it had read all of that
    assert "done_total 0.0" in read(old.port)


def test_sockets_of_dead_processes_are_removed(meeting: Meeting) -> None:
    with subprocess.Popen(["true"]) as dead:
        dead.wait()
    left = meeting.path.with_name(f"{meeting.path.name}.{dead.pid}")
    left.touch()
    assert meeting.others() == []
    assert not left.exists()


def test_figures_that_cannot_be_read_are_left_out(meeting: Meeting, caplog: pytest.LogCaptureFixture) -> None:
    """As those of a release to come."""

    async def ask() -> list[object]:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            writer.write(b"\xc1 no msgpack")
            writer.close()

        path = meeting.path.with_name(f"{meeting.path.name}.{os.getppid()}")
        async with await asyncio.start_unix_server(answer, path):
            return list(await meeting.figures("127.0.0.1"))

    assert asyncio.run(ask()) == []
    assert "cannot be read" in caplog.text


def test_who_waits_for_the_last_reading_is_told_when_it_was(successor: Callable[[int], Exporter]) -> None:
    """By somebody who reads regularly; a process that nobody reads ends at once."""
    exporter = successor(0)
    assert exporter.opened.wait(PATIENCE)
    asyncio.run(asyncio.wait_for(exporter.last_read(), PATIENCE))
    for _ in range(2):
        read(exporter.port)
        time.sleep(0.5)  # the period of a reader

    async def end() -> bool:
        waiting = asyncio.create_task(exporter.last_read())
        await asyncio.sleep(0)
        await asyncio.to_thread(read, exporter.port)
        await asyncio.wait_for(waiting, PATIENCE)
        return True

    assert asyncio.run(end())


def test_a_folder_of_somebody_else_is_no_meeting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Figures would be theirs, and the port could be given to them."""
    monkeypatch.setattr(private_files.tempfile, "tempdir", str(tmp_path))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / f"flotilla-{os.getuid()}").symlink_to(elsewhere)
    with pytest.raises(OSError, match="not a folder of this user alone"):
        Meeting.of_this_process()


def test_others_are_merged_family_by_family() -> None:
    """Whatever kinds there are, and families that only the others have."""
    own, other = CollectorRegistry(), CollectorRegistry()
    for registry in (own, other):
        Counter("both", "In both.", ["code"], registry=registry).labels("100").inc(3)
    Gauge("mine", "Here.", registry=own).set(float("inf"))
    Gauge("theirs", "There.", registry=other).set(float("nan"))
    text = generate_latest(WithOthers(own, [figures_of(other)])).decode()  # type: ignore[arg-type]
    assert text.count("# TYPE both_total counter") == 1
    assert 'both_total{code="100"} 3.0' in text
    assert f'both_total{{code="100",pid="{os.getpid()}",process="draining"}} 3.0' in text
    assert "mine +Inf" in text
    assert f'theirs{{pid="{os.getpid()}",process="draining"}} NaN' in text
