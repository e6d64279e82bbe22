"""The hosts and cables that the campaign is made on: everything passes while they are whole, and fails as told."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from tests.cluster.support.processes import ROOT, wait_until
from tests.networks.delays import Weather
from tests.networks.namespaces import PREFIX, SWITCH, Network, refusal, run, sweep
from tests.networks.switch import Switch

SOON, LATER = 0.5, 20.0  # seconds: that nothing comes, and that something does


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    if why := refusal():
        pytest.skip(why)
    made = Network(("anna", "ben"))
    try:
        made.build()
        yield made
    finally:
        made.remove()


@pytest.fixture
def switch(network: Network) -> Iterator[Switch]:
    made = Switch(network)
    made.start()
    try:
        yield made
    finally:
        made.mend()
        made.stop()
        made.remove()


def socket_on(network: Network, host: str) -> socket.socket:
    """A TCP socket of a host: it stays one, wherever it is used."""
    found = []

    def make() -> None:
        network.enter(host)
        found.append(socket.socket())

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    return found[0]


@pytest.fixture
def pair(network: Network) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection between the two, each end on its host."""
    with socket_on(network, "anna") as anna, socket_on(network, "ben") as ben:
        ben.bind(("0.0.0.0", 0))
        ben.listen()
        anna.settimeout(LATER)
        anna.connect((network.addresses["ben"], ben.getsockname()[1]))
        other, _ = ben.accept()
        with other:
            yield anna, other


def passes(sender: socket.socket, receiver: socket.socket, within: float = LATER) -> bool:
    """Whether a byte gets from one end to the other."""
    sender.sendall(b"x")
    receiver.settimeout(within)
    try:
        return receiver.recv(1) == b"x"
    except TimeoutError:
        return False


Pair = tuple[socket.socket, socket.socket]


def test_a_way_that_drops_is_half_open_and_the_connection_goes_on_afterwards(switch: Switch, pair: Pair) -> None:
    anna, ben = pair
    assert passes(anna, ben)
    assert passes(ben, anna)
    switch.drop(("anna", "ben"))
    assert not passes(anna, ben, SOON)
    switch.mend()
    ben.settimeout(LATER)
    assert ben.recv(1) == b"x"  # sent again by the kernel
    assert passes(ben, anna)


def test_nothing_passes_a_cut_and_nobody_is_told(switch: Switch, pair: Pair) -> None:
    anna, ben = pair
    switch.drop(("anna", "ben"), ("ben", "anna"))
    assert not passes(anna, ben, SOON)
    assert not passes(ben, anna, SOON)
    switch.mend()
    ben.settimeout(LATER)
    assert ben.recv(1) == b"x"


def test_a_host_whose_cable_is_out_comes_back_with_its_connections(switch: Switch, pair: Pair) -> None:
    anna, ben = pair
    switch.unplug("ben")
    assert not passes(anna, ben, SOON)
    switch.mend()
    ben.settimeout(LATER)
    assert ben.recv(1) == b"x"


def needs_delays(switch: Switch) -> None:
    if not switch.how:
        pytest.skip("neither netem nor a TAP device")


def test_a_slow_way_is_slow_in_both_directions_and_fast_again(switch: Switch, pair: Pair) -> None:
    needs_delays(switch)
    anna, ben = pair
    switch.trouble(Weather(delay=0.2), ("anna", "ben"), ("ben", "anna"))
    began = time.monotonic()
    assert passes(anna, ben)
    assert passes(ben, anna)
    assert time.monotonic() - began >= 0.4
    switch.mend()
    assert passes(anna, ben)


@pytest.mark.parametrize("weather", [Weather(delay=0.005, loss=0.1), Weather(delay=0.01, overtaking=0.3)])
def test_what_is_lost_or_reordered_on_the_way_arrives_whole(switch: Switch, pair: Pair, weather: Weather) -> None:
    needs_delays(switch)
    anna, ben = pair
    switch.trouble(weather, ("anna", "ben"), ("ben", "anna"))
    sent = os.urandom(300_000)
    sender = threading.Thread(target=anna.sendall, args=(sent,))
    sender.start()
    ben.settimeout(LATER)
    got = b""
    while len(got) < len(sent):
        got += ben.recv(1 << 16)
    sender.join()
    assert got == sent
    assert _packets(switch) > 100  # they went aside indeed


def _packets(switch: Switch) -> int:
    shown = run("ip", "-n", switch.network.namespace(SWITCH), "-statistics", "link", "show", "aside").splitlines()
    return int(shown[-1].split()[1])


KILLED = """
import os, signal, subprocess
from tests.networks.namespaces import Network
network = Network(("lost",))
network.build()
subprocess.Popen([*network.within("lost"), "sleep", "600"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(os.getpid(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_run_left_is_removed_with_its_processes(network: Network) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED], cwd=ROOT, capture_output=True, text=True, check=False)
    left = f"{PREFIX}-{int(done.stdout)}-"
    pids = [int(word) for word in run("ip", "netns", "pids", f"{left}lost").split()]
    assert len(pids) == 1
    found = sweep()
    assert {f"{left}lost", f"{left}{SWITCH}"} <= set(found)
    wait_until(lambda: not os.path.exists(f"/proc/{pids[0]}") or _is_dead(pids[0]), "its process is gone")
    assert left not in run("ip", "netns", "list")
    assert network.namespace("anna") in run("ip", "netns", "list")  # those of a run that goes on stay


def _is_dead(pid: int) -> bool:
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rsplit(")", 1)[1].split()[0] in "ZX"
