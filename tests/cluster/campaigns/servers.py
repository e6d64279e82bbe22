"""What a connection and a delivery cost under each server: `python -m tests.cluster.campaigns.servers`.

One process of each serves the foreign project of the tests. CONNECTIONS clients subscribe to one channel, and
PUBLICATIONS come to it over the HTTP API. Memory is what the process has grown by, with all clients in; CPU is the time
that the process was given while it delivered, so a busy machine changes it little.
"""

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path

import psutil

from tests.cluster.support.foreign_project import Project, Serving
from tests.cluster.support.light_client import LightClient, open_light
from tests.cluster.support.processes import eventually
from tests.cluster.support.raw_client import token

CHANNEL = "open:crowd"
AT_ONCE = 20  # clients on their way in
PATIENCE = 300.0  # seconds for whatever is waited for
AT = "--host 127.0.0.1 --port {port}"
SERVERS = {
    "ours": "flotilla.realtime.server.daphne -b 127.0.0.1 -p {port} --access-log /dev/null {app}",
    "uvicorn": f"uvicorn {AT} --log-level warning {{app}}",
    "granian": f"granian --interface asgi {AT} {{app}}",
    "hypercorn": "hypercorn --workers 0 --bind 127.0.0.1:{port} {app}",
    "daphne": "daphne -b 127.0.0.1 -p {port} --access-log /dev/null {app}",
}


class Crowd:
    """Clients of one server; counts what they were given."""

    def __init__(self, url: str) -> None:
        self.subscribed = 0
        self.delivered = 0
        self._url = url
        self._clients: list[LightClient] = []
        self._hello = "\n".join(
            (
                json.dumps({"id": 1, "connect": {"token": token("ann")}}),
                json.dumps({"id": 2, "subscribe": {"channel": CHANNEL}}),
            )
        )

    async def come(self, count: int) -> None:
        """So many clients connect and subscribe."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def one() -> None:
            async with gate:
                client = await open_light(self._url, self._take, lambda code: None)
                self._clients.append(client)
                client.send(self._hello)

        await asyncio.gather(*(one() for _ in range(count)))
        await eventually(lambda: self.subscribed == count, "all have subscribed", PATIENCE)

    def leave(self) -> None:
        """All are gone."""
        for client in self._clients:
            client.abort()

    def _take(self, text: str) -> None:
        self.subscribed += text.count('"subscribe":')
        self.delivered += text.count('"pub":')


def serving_process(server: Serving) -> psutil.Process:
    """The one that has the clients: granian's is a child."""
    return server.processes()[-1]


async def measure(server: Serving, connections: int, publications: int) -> str:
    """A line about a server."""
    crowd = Crowd(server.url)
    process = serving_process(server)
    await asyncio.sleep(3)  # what it still does at its start
    empty = process.memory_info().rss
    await crowd.come(connections)
    full = process.memory_info().rss
    before, began = sum(process.cpu_times()[:2]), time.monotonic()
    for number in range(publications):
        await asyncio.to_thread(server.publish, CHANNEL, {"number": number, "text": "x" * 100})
    expected = connections * publications
    await eventually(lambda: crowd.delivered >= expected, "all were delivered", PATIENCE)
    cpu, seconds = sum(process.cpu_times()[:2]) - before, time.monotonic() - began
    crowd.leave()
    return (
        f"{server.name:<10} {(full - empty) / connections / 1024:6.1f} KB a connection"
        f"  {cpu / expected * 1e6:6.1f} µs of CPU a delivery  ({expected} in {seconds:.1f} s)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--publications", type=int, default=200)
    parser.add_argument("--only", choices=SERVERS)
    options = parser.parse_args()
    for name in [options.only] if options.only else SERVERS:
        with tempfile.TemporaryDirectory(prefix="flotilla-servers-") as home:
            project = Project(Path(home), ping_interval=60, pong_timeout=30)
            server = Serving(name, project, SERVERS[name])
            try:
                project.start()
                server.start()
                print(asyncio.run(measure(server, options.connections, options.publications)), flush=True)
            finally:
                server.stop()
                project.stop()


if __name__ == "__main__":
    main()
