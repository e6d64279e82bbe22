"""Hosts on one machine: network namespaces on one switch, each with addresses of its own.

Every host has two interfaces: `eth0`, whose cable can fail (`tests.networks.switch`), and `manage`, which never does:
whoever judges asks there. Everything lives in namespaces whose names hold the process id of who made them, so that what
a killed run has left is found and removed by the next one, its processes included. Needs root, or CAP_NET_ADMIN and
CAP_SYS_ADMIN.
"""

import contextlib
import ctypes
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence

PREFIX = "flotilla-networks"
SWITCH = "switch"
NAMES = re.compile(rf"{PREFIX}-(\d+)-\w+")
CLONE_NEWNET = 0x40000000
GONE_WITHIN = 5.0  # seconds after SIGKILL
TOOLS = ("ip", "nft", "tc")


def run(*words: str, given: str = "") -> str:
    """What a command printed. Raises OSError with its complaint when it failed."""
    done = subprocess.run(words, input=given, capture_output=True, text=True, timeout=30)
    if done.returncode:
        raise OSError(f"{' '.join(words)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def refusal() -> str:
    """Why there can be no namespaces here; empty when there can."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"needs {', '.join(missing)} on the PATH (Debian: iproute2, nftables)"
    try:
        network = Network(("probe",))
        try:
            network.build()
            run(*network.within(SWITCH), "nft", "add", "table", "netdev", "probe")
        finally:
            network.remove()
    except OSError as error:
        return f"network namespaces are not permitted here: {error}"
    return ""


class Network:
    """A switch and hosts by name. `build` before anything else, `remove` whatever happened."""

    def __init__(self, hosts: Sequence[str]) -> None:
        """At most 200 hosts, with names of at most ten letters and digits."""
        self.hosts = tuple(hosts)
        self.addresses = {name: f"10.77.0.{number}" for number, name in enumerate(self.hosts, 10)}
        self.managed = {name: f"10.78.0.{number}" for number, name in enumerate(self.hosts, 10)}

    def namespace(self, host: str) -> str:
        """The name of a host's namespace, or the switch's."""
        return f"{PREFIX}-{os.getpid()}-{host}"

    def within(self, host: str) -> tuple[str, ...]:
        """What stands before a command that is to run on a host."""
        return ("ip", "netns", "exec", self.namespace(host))

    def port(self, host: str) -> str:
        """The switch's end of a host's cable."""
        return f"port-{host}"

    def build(self) -> None:
        """Make all of it; what killed runs have left goes first. Raises OSError where that is not permitted."""
        sweep()
        run("ip", "netns", "add", self.namespace(SWITCH))
        lines = [f"link add {bridge} type bridge forward_delay 0" for bridge in ("cables", "manage")]
        lines += [f"link set {bridge} up" for bridge in ("cables", "manage")]
        for host in self.hosts:
            run("ip", "netns", "add", self.namespace(host))
            for port, interface, bridge in ((self.port(host), "eth0", "cables"), (f"mg-{host}", "manage", "manage")):
                lines.append(f"link add {port} type veth peer name {interface} netns {self.namespace(host)}")
                lines.append(f"link set {port} master {bridge} up")
        run("ip", "-n", self.namespace(SWITCH), "-batch", "-", given="\n".join(lines))
        for host in self.hosts:
            own = ["link set lo up"]
            for interface, address in (("eth0", self.addresses[host]), ("manage", self.managed[host])):
                own += [f"address add {address}/24 dev {interface}", f"link set {interface} up"]
            run("ip", "-n", self.namespace(host), "-batch", "-", given="\n".join(own))

    def remove(self) -> None:
        """Take everything away, and end what still runs there, but for this process."""
        for host in (*self.hosts, SWITCH):
            _remove(self.namespace(host))

    def enter(self, host: str) -> None:
        """This process is on a host from now on; threads that run already are not."""
        with open(f"/run/netns/{self.namespace(host)}") as namespace:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(namespace.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"cannot enter {host}")


def sweep() -> list[str]:
    """Remove the namespaces of runs whose process is gone, with what runs there; returns their names."""
    found = [line.split()[0] for line in run("ip", "netns", "list").splitlines()]
    stale = [name for name in found if (made := NAMES.fullmatch(name)) and not os.path.exists(f"/proc/{made[1]}")]
    for name in stale:
        _remove(name)
    return stale


def _remove(namespace: str) -> None:
    with contextlib.suppress(OSError):  # it is not there
        deadline = time.monotonic() + GONE_WITHIN
        while (inside := _processes(namespace)) and time.monotonic() < deadline:
            for process in inside:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.02)
        run("ip", "netns", "delete", namespace)


def _processes(namespace: str) -> list[int]:
    """Who runs there and is not this process, nor on its way out."""
    found = [int(word) for word in run("ip", "netns", "pids", namespace).split()]
    return [process for process in found if process != os.getpid()]
