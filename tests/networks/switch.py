"""What can be done to the cables between hosts: nothing passes, nothing passes one way, it is late or lost, or a host's
cable is out. Packets are dropped or led aside where they enter the switch; ends of connections learn nothing.

Late and lost packets are netem's work where the kernel has it, and a process's otherwise (`tests.networks.delays`).
"""

import subprocess
import sys
from collections.abc import Iterable

from tests.cluster.support.processes import ROOT
from tests.networks.delays import Weather
from tests.networks.namespaces import SWITCH, Network, run

ASIDE, BACK = "aside", "back"  # where packets are led to, and with netem where they come out
CLEAR = Weather()
NETEM, RELAY = "netem", "a process on the switch: this kernel has no netem"


class Switch:
    """The switch of a network. Use `start` and `stop`; `mend` takes everything back. `how`: what makes packets late, ""
    where nothing can."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._relay: subprocess.Popen[bytes] | None = None
        self._unplugged: set[str] = set()
        self.how = ""

    def start(self) -> None:
        """Lay the stretch of cable on which packets are late."""
        try:
            self._lay_netem()
            self.how = NETEM
        except OSError:
            try:
                self._lay_relay()
            except OSError:
                return
            self.how = RELAY
        back = BACK if self.how == NETEM else ASIDE
        # What comes out of it carries the address of its sender, who is not there; and nothing else goes in.
        quiet = "learning off flood off mcast_flood off bcast_flood off"
        self._ip(f"link set {back} master cables", f"link set dev {back} type bridge_slave {quiet}")
        self._ip(*(f"link set {end} up" for end in {ASIDE, back}))

    def stop(self) -> None:
        """End the process, if there is one."""
        if self._relay is not None:
            assert self._relay.stdin is not None and self._relay.stdout is not None
            self._relay.stdin.close()
            self._relay.wait(10)
            self._relay.stdout.close()
            self._relay = None

    def remove(self) -> None:
        """Take the stretch of cable away as well, where the network stays."""
        if self.how == NETEM:
            self._ip(f"link delete {ASIDE}")

    def _lay_netem(self) -> None:
        self._ip(f"link add {ASIDE} type veth peer name {BACK}")
        try:
            self._on_switch("tc", "qdisc", "add", "dev", ASIDE, "root", "netem", *CLEAR.netem())
        except OSError:
            self._ip(f"link delete {ASIDE}")
            raise

    def _lay_relay(self) -> None:
        command = [*self.network.within(SWITCH), sys.executable, "-m", "tests.networks.delays", ASIDE]
        self._relay = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._relay.stdout is not None
        if self._relay.stdout.readline() != b"ready\n":
            self.stop()
            raise OSError("no TAP device: needs /dev/net/tun")

    # ---- what fails

    def drop(self, *ways: tuple[str, str]) -> None:
        """Nothing passes from one host to another, for each (from, to)."""
        self._rules((sender, f"ip daddr {self.network.addresses[to]} drop") for sender, to in ways)

    def trouble(self, weather: Weather, *ways: tuple[str, str]) -> None:
        """Packets from one host to another are late or lost, for each (from, to)."""
        self._weather(weather)
        self._rules((sender, f'ip daddr {self.network.addresses[to]} fwd to "{ASIDE}"') for sender, to in ways)

    def unplug(self, host: str) -> None:
        """A host's cable is out: nobody hears of it any more, nor it of anybody."""
        self._ip(f"link set {self.network.port(host)} down")
        self._unplugged.add(host)

    def mend(self) -> None:
        """Everything passes, at once."""
        self._rules(())
        self._ip(*(f"link set {self.network.port(host)} up" for host in self._unplugged))
        self._unplugged.clear()
        self._weather(CLEAR)

    def _weather(self, weather: Weather) -> None:
        if self.how == NETEM:
            self._on_switch("tc", "qdisc", "change", "dev", ASIDE, "root", "netem", *weather.netem())
        elif self._relay is not None and self._relay.stdin is not None:
            self._relay.stdin.write(weather.line())
            self._relay.stdin.flush()

    def _rules(self, rules: Iterable[tuple[str, str]]) -> None:
        """Of each port of the switch, in one step: (host, rule)."""
        table = "table netdev faults"
        lines = [table, f"delete {table}", f"{table} {{"]
        for number, (host, rule) in enumerate(rules):
            port = self.network.port(host)
            hook = f'type filter hook ingress device "{port}" priority {number};'
            lines.append(f"chain of-{number} {{ {hook} {rule}; }}".replace("of-", "of_"))
        self._on_switch("nft", "-f", "-", given="\n".join([*lines, "}", ""]))

    def _ip(self, *lines: str) -> None:
        run("ip", "-n", self.network.namespace(SWITCH), "-batch", "-", given="\n".join(lines))

    def _on_switch(self, *words: str, given: str = "") -> None:
        run(*self.network.within(SWITCH), *words, given=given)
