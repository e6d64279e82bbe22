"""The HAProxy that is shipped, `deploy/haproxy.cfg` as it stands but for the addresses, before instances of a test."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.cluster.support.harness import ready
from tests.cluster.support.processes import ROOT, Process, free_port, wait_until

SHIPPED = ROOT / "deploy" / "haproxy.cfg"
ADDRESS = "127.0.0.1"  # where instances see it come from


class Balancer(Process):
    """HAProxy on a port of its own, before instances by their ports."""

    def __init__(self, home: Path, ports: Sequence[int]) -> None:
        super().__init__("haproxy", home)
        self.port, self.watched_at = free_port(), free_port()
        self.http = f"http://127.0.0.1:{self.port}"
        self.url = f"ws://127.0.0.1:{self.port}/connection/websocket"
        self._ports = ports

    def start(self) -> None:
        """Start it, and wait until it has found the instances ready."""
        self.launch()
        wait_until(lambda: not self.running or ready(self.http), "the balancer serves")
        assert self.running, self.tail()

    def launch(self) -> None:
        """Start it, whether anybody is behind it or not."""
        if shutil.which("haproxy") is None:
            pytest.skip("no haproxy on the PATH")
        path = self.home / "haproxy.cfg"
        path.write_text(here(SHIPPED.read_text(), self.port, self.watched_at, self._ports))
        self.spawn(["haproxy", "-db", "-f", str(path)])


def here(text: str, port: int, watched_at: int, instances: Sequence[int]) -> str:
    """A configuration with the addresses of a test: one server for each instance, the rest unchanged."""
    text = text.replace("bind :8000", f"bind {ADDRESS}:{port}").replace("bind :8404", f"bind {ADDRESS}:{watched_at}")
    text = text.replace(" resolvers docker init-addr none", "")
    for number in range(1, 4):
        line = rf"^    server backend{number} backend{number}:8000(.*)\n"
        own = [f"    server backend{number} {ADDRESS}:{port}\\1\n" for port in instances[number - 1 : number]]
        text = re.sub(line, "".join(own), text, flags=re.MULTILINE)
    return text
