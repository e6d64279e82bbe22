"""SIGTERM under a server that is not ours: our clients go first, then the server has its signal."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PROCESS = """
import asyncio, os, signal, sys, threading
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
import django
django.setup()
from flotilla.conf import set_for_this_process
set_for_this_process(drain_deadline=5.0)
from flotilla.realtime.server.drain import is_leaving
from flotilla.realtime.server.other_server import drain_at_sigterm

ended = asyncio.Event()

class Listener:
    def close(self):
        print("listener closed")

class Server:
    servers = [Listener()]

    def handle(self, number, frame=None):
        assert number == signal.SIGTERM
        print("server told")
        loop.call_soon_threadsafe(ended.set)

class Clients:
    async def send_away(self, within):
        print("clients go, within", 0 < within < 5, is_leaving())
        await asyncio.sleep(float(sys.argv[1]))
        print("clients gone")

async def main():
    global loop
    loop = asyncio.get_running_loop()
    server = Server()
    {server}
    print(drain_at_sigterm(Clients()))
    os.kill(os.getpid(), signal.SIGTERM)
    {more}
    await ended.wait()

asyncio.run(main())
"""
OF_PROCESS = "signal.signal(signal.SIGTERM, server.handle)"
OF_LOOP = "loop.add_signal_handler(signal.SIGTERM, server.handle, signal.SIGTERM)"
AGAIN = "await asyncio.sleep(0.5); os.kill(os.getpid(), signal.SIGTERM)"


def run(code: str, lasts: float = 0.0) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-W", "error", "-c", code, str(lasts)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(("server", "listens"), [(OF_PROCESS, True), (OF_LOOP, False)], ids=["process", "loop"])
def test_clients_go_first_and_then_the_server_is_told(server: str, listens: bool) -> None:
    done = run(PROCESS.format(server=server, more=""))
    assert done.stderr == ""
    closed = ["listener closed"] if listens else []
    assert done.stdout.splitlines() == ["True", *closed, "clients go, within True True", "clients gone", "server told"]


@pytest.mark.parametrize("server", [OF_PROCESS, OF_LOOP], ids=["process", "loop"])
def test_a_second_one_goes_to_the_server_at_once(server: str) -> None:
    done = run(PROCESS.format(server=server, more=AGAIN), lasts=30.0)
    assert done.stdout.splitlines()[-2:] == ["clients go, within True True", "server told"]


def test_the_deadline_ends_the_waiting(tmp_path: Path) -> None:
    done = run(PROCESS.format(server=OF_PROCESS, more="").replace("deadline=5.0", "deadline=1.5"), lasts=30.0)
    assert done.stdout.splitlines()[-1] == "server told"
    assert "clients gone" not in done.stdout


def test_a_process_that_nobody_listens_for_ends_as_ever() -> None:
    done = run(PROCESS.format(server="", more=""))
    assert (done.returncode, done.stdout) in ((-15, ""), (-15, "False\n"))


def test_another_thread_has_no_say() -> None:
    """Python's signals are the main thread's."""
    code = (
        PROCESS.replace("asyncio.run(main())", "").format(server="", more="")
        + """
async def other():
    print(drain_at_sigterm(Clients()))
thread = threading.Thread(target=lambda: asyncio.run(other()))
thread.start()
thread.join()
"""
    )
    assert run(code).stdout == "False\n"


def test_a_handler_of_the_loop_itself_stays() -> None:
    """As uvloop's, which the loop calls by a way of its own."""
    server = "signal.signal(signal.SIGTERM, loop.call_exception_handler)"
    code = PROCESS.replace("os.kill(os.getpid(), signal.SIGTERM)", "return", 1).format(server=server, more="")
    assert run(code).stdout == "False\n"
