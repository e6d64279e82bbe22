"""How the admin's pages fare with 100,000 connections: `make admin-scale`.

Real connections over as many instances as the limit on open files wants, each of a user of its own: all present in one
channel, every tenth subscribed to another of its own; and 10,000 blocks. Then each page is asked for over HTTP, and the
time of the answers is told, with how far the memory of the instances rose meanwhile above what it was before.
"""

import argparse
import os
import resource
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from tests.cluster.support.harness import CONFIG, Cluster, manage, running
from tests.cluster.support.processes import ROOT, Redis, wait_until
from tests.cluster.support.raw_client import token

SPARE = 1500  # files a process opens beside its connections
OWN_EVERY = 10  # connections, of which one has a channel of its own
BLOCKS = 10_000
LIMIT = 0.3  # seconds a page may take
SETTLED = 20.0  # seconds without a request before memory is looked at: what connecting left behind is collected
NAMESPACES = {
    "seats": {"presence": True, "allow_subscribe_for_client": True, "history_size": 100, "history_ttl": "1h"},
    "own": {"allow_subscribe_for_client": True, "history_size": 10, "history_ttl": "1h"},
}
PREPARE = """
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from flotilla.realtime.blocks import blocklist
from flotilla.store import get_store
for number in range({blocks}):
    blocklist.add(get_store(), f"u:blocked-{{number}}", 86400, {{"by": "a script", "note": "one of many"}})
boss = User.objects.create_superuser("boss")
session = SessionStore()
session[SESSION_KEY] = str(boss.pk)
session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
session[HASH_SESSION_KEY] = boss.get_session_auth_hash()
session.save()
print(session.session_key)
"""
PAGES = {
    "instances": "instance/",
    "channels": "channel/",
    "channels, far in": "channel/?after=own:5",
    "channels, by a pattern": "channel/?q=*99",
    "one channel, everybody in it": "channel/seats_3Aall/change/",
    "users": "connecteduser/",
    "users, far in": "connecteduser/?after=u50000",
    "users, by the beginning of an id": "connecteduser/?q=u777",
    "connections": "connection/",
    "connections, far in": "connection/?after=80000000",
    "connections, in one channel": "connection/?channel=seats:all",
    "connections, by a search": "connection/?q=u777",
    "connections, the slowest readers first": "connection/?o=-waiting",
    "connections, by address, far in": "connection/?o=address&after=%5B%22127.0.0.1%22%2C%2280000000%22%5D",
    "connections, of an SDK on an instance": "connection/?sdk=scale&instance=b",
    "users, those with most connections first": "connecteduser/?o=-connections",
    "users, of an SDK from an address": "connecteduser/?sdk=scale&address=127.0",
    "channels, those with most subscribers first": "channel/?o=-subscribers",
    "channels, the busiest first": "channel/?o=-per_second",
    "one user": "connecteduser/u777/change/",
    "blocks": "block/",
    "blocks, far in": "block/?after=9000",
}


class Fast(Redis):
    """A Redis that keeps nothing on disk: it is not what is measured."""

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.spawn(["redis-server", *options])
        wait_until(self.answers, "redis answers")


# Clients: processes that hold connections


def hold(port: int, first: int, count: int) -> None:
    """Open connections one after another, say so, and hold them until our input ends."""
    held = [open_one(port, number) for number in range(first, first + count)]
    print(len(held), flush=True)
    sys.stdin.read()


def open_one(port: int, number: int) -> socket.socket:
    """A WebSocket on which a user is connected and subscribed."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    key = "x3JJHMbDL1EzLkh9GBhXDw=="
    connection.sendall(
        f"GET /connection/websocket HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    read_until(connection, b"\r\n\r\n")
    say(connection, f'{{"id":1,"connect":{{"token":"{token(f"u{number}")}","name":"scale"}}}}')
    read_until(connection, b'"connect"')
    channels = ["seats:all", *([f"own:{number}"] if number % OWN_EVERY == 0 else [])]
    for id, channel in enumerate(channels, 2):
        say(connection, f'{{"id":{id},"subscribe":{{"channel":"{channel}"}}}}')
        read_until(connection, b'"subscribe"')
    return connection


def say(connection: socket.socket, text: str) -> None:
    """Send one masked text frame."""
    payload, mask = text.encode(), secrets.token_bytes(4)
    head = bytes((0x81, 0x80 | len(payload))) if len(payload) < 126 else b"\x81\xfe" + len(payload).to_bytes(2)
    connection.sendall(head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)))


def read_until(connection: socket.socket, sign: bytes) -> None:
    """Read until a sign came; an answer without it is a fault."""
    read = b""
    while sign not in read:
        more = connection.recv(4096)
        if not more or b'"error"' in more:
            raise AssertionError(f"no {sign!r}: {read + more!r}")
        read += more


# The measurement


def connect_all(cluster: Cluster, connections: int, env: dict[str, str]) -> list["subprocess.Popen[str]"]:
    """Have everybody connected; returns the processes that hold them."""
    share, began, holders = -(-connections // len(cluster.instances)), time.monotonic(), []
    for number, instance in enumerate(cluster.instances):
        count = min(share, connections - number * share)
        words = [
            sys.executable,
            "-m",
            "tests.cluster.campaigns.admin_scale",
            "--hold",
            str(instance.port),
            str(number * share),
            str(count),
        ]
        holders.append(
            subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env, cwd=ROOT)
        )
    told = [int((holder.stdout.readline() if holder.stdout else "") or 0) for holder in holders]
    assert sum(told) == connections, f"{sum(told)} of {connections} are connected"
    spent = time.monotonic() - began
    print(f"{connections} connections over {len(cluster.instances)} instances, after {spent:.0f} s")
    return holders


def measure(cluster: Cluster, client: str, times: int) -> bool:
    """Ask for every page; whether each was in time, in the middle."""
    pids = [instance.pid for instance in cluster.instances]
    before = [resident(pid) for pid in pids]
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak begins here
    spent: dict[str, list[float]] = {name: [] for name in PAGES}
    sizes = {}
    for _ in range(times):  # in turns, so that what else the machine does is shared by all
        for name, address in PAGES.items():
            began = time.monotonic()
            sizes[name] = len(get(f"{cluster[0].http}/admin/flotilla_realtime/{address}", client))
            spent[name].append(time.monotonic() - began)
    print(f"{'page':34} {'p50 ms':>8} {'most ms':>8} {'KB':>6}")
    for name, seconds in spent.items():
        print(f"{name:34} {middle(seconds) * 1000:8.0f} {max(seconds) * 1000:8.0f} {sizes[name] / 1000:6.0f}")
    rises = [resident(pid, "VmHWM") - was for pid, was in zip(pids, before, strict=True)]
    print(f"memory of the instance that serves the pages: {before[0]:.0f} MB, at most {rises[0]:.1f} MB more meanwhile")
    print(f"memory of the others: at most {max(rises[1:]):.1f} MB more each")
    return all(middle(seconds) < LIMIT for seconds in spent.values())


def middle(values: list[float]) -> float:
    """The median."""
    return sorted(values)[len(values) // 2]


def get(url: str, client: str) -> bytes:
    """A page, as the staff gets it."""
    request = urllib.request.Request(url, headers={"Cookie": f"sessionid={client}"})
    with urllib.request.urlopen(request, timeout=30) as response:
        body: bytes = response.read()
    assert response.status == 200
    assert b"have answered" not in body, "some instance has not answered"
    assert b"errornote" not in body
    return body


def resident(pid: int, what: str = "VmRSS") -> float:
    """MB of memory a process has in use, or has had at most (VmHWM)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith(what))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--connections", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=15, help="how often each page is asked for")
    parser.add_argument("--hold", type=int, nargs=3, metavar=("PORT", "FIRST", "COUNT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    if options.hold:
        return hold(*options.hold)
    count = max(2, -(-options.connections // min(files - SPARE, 25_000)))
    limits = {"ping_interval": 0, "recheck_interval": 0, "position_check_interval": 40, "namespaces": NAMESPACES}
    limits |= {"user_personal_channel": False}
    with tempfile.TemporaryDirectory(prefix="flotilla-scale-") as home:
        made = Cluster(Path(home), CONFIG | limits, *["flotilla"] * count)
        made.redis.__class__ = Fast
        with running(made) as cluster:
            client = manage(cluster.env, "shell", "--verbosity", "0", "-c", PREPARE.format(blocks=BLOCKS)).split()[-1]
            holders = connect_all(cluster, options.connections, {**os.environ, **cluster.env})
            try:
                for address in PAGES.values():  # what is made once is made
                    get(f"{cluster[0].http}/admin/flotilla_realtime/{address}", client)
                time.sleep(SETTLED)
                good = measure(cluster, client, options.times)
            finally:
                for holder in holders:
                    holder.kill()
                    holder.wait()
    print("every page within 300 ms" if good else "NOT every page within 300 ms")
    sys.exit(not good)


if __name__ == "__main__":
    main()
