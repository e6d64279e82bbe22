"""The real nginx with the shipped file before instances of the tests; unprivileged, in a folder of its own."""

import os
import re
import shutil
import socket
from pathlib import Path

from tests.cluster.support.processes import ROOT, Process, free_port, wait_until

SHIPPED = ROOT / "deploy" / "nginx.conf"
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


class Nginx(Process):
    """Listens on `port`, with TLS on `tls_port` when it is given a certificate. `path`: where the site lies."""

    def __init__(self, home: Path, *instances: int, certificate: Path | None = None, path: str = "/") -> None:
        super().__init__("nginx", home)
        self.port, self.tls_port = free_port(), free_port()
        self.http = f"http://127.0.0.1:{self.port}"
        self.url = f"ws://127.0.0.1:{self.port}{path}connection/websocket"
        text = SHIPPED.read_text()
        if certificate is None:
            text = re.sub(r".*# TLS\n", "", text)
        for number, port in enumerate(instances, 1):
            text = text.replace(f"backend{number}:8000", f"127.0.0.1:{port}")
        text = re.sub(r".*backend\d:8000.*\n", "", text)
        text = text.replace("listen 8000", f"listen 127.0.0.1:{self.port}")
        text = text.replace("location / {", f"location {path} {{")
        text = text.replace("listen 8443", f"listen 127.0.0.1:{self.tls_port}")
        self._config = text.replace("/etc/flotilla/tls/site.pem", str(certificate))

    def start(self) -> None:
        """Start it and wait until it listens."""
        (self.home / "flotilla.conf").write_text(self._config)
        (self.home / "nginx.conf").write_text(_main(self.home))
        command = [binary(), "-e", "stderr", "-p", str(self.home), "-c", str(self.home / "nginx.conf")]
        self.spawn(command)
        wait_until(lambda: not self.running or self._listens(), "nginx listens")
        assert self.running, self.tail()

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def binary() -> str:
    """The path of nginx, or "": systems keep it where only root looks."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin") or ""


def _main(home: Path) -> str:
    """What stands around the shipped file on a system."""
    folders = "".join(f"{name}_temp_path {home}/{name};\n" for name in TEMPORARY)
    user = "user root;\n" if os.geteuid() == 0 else ""  # who may enter the test's folder
    return f"""{user}daemon off;
worker_processes 2;
pid {home}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
access_log off;
{folders}include {home}/flotilla.conf;
}}
"""
