"""Steady publishers, in a process of their own so that the many clients beside them do not hold them up.

They send batches, up to 20 a second, over the HTTP API. Each publication is asked for again, under the same idempotency
key, until it is answered; one that is late is not skipped. What was acknowledged is counted in memory that both
processes see.
"""

import http.client
import json
import multiprocessing
import secrets
import threading
import time
from collections import Counter
from typing import Any

from tests.cluster.support.harness import API_KEY

THREADS = 4  # each waits for its answers
BATCHES = 20  # a second, at most
SPAWN = multiprocessing.get_context("spawn")


class Publishers:
    """Publish at a rate, round robin over the channels, through the HTTP API at a port of this machine."""

    def __init__(self, port: int, channels: list[str], per_second: float) -> None:
        self._channels = channels
        self._counts = SPAWN.Array("q", len(channels))
        self._latest = SPAWN.Array("d", THREADS)
        self._stopping = SPAWN.Event()
        arguments = (port, channels, per_second, self._counts, self._latest, self._stopping)
        self._process = SPAWN.Process(target=_publish, args=arguments, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._process.start()

    def stop(self) -> None:
        """Finish what was begun, and end."""
        self._stopping.set()
        if self._process.pid is not None:
            self._process.join()

    @property
    def acknowledged(self) -> Counter[str]:
        """How many publications of each channel were answered with success."""
        return Counter(dict(zip(self._channels, self._counts[:], strict=True)))

    @property
    def latest(self) -> float:
        """Seconds from when a publication was due until it was acknowledged, of the latest of all."""
        return float(max(self._latest[:]))


def _publish(port: int, channels: list[str], per_second: float, counts: Any, latest: Any, stopping: Any) -> None:
    run = secrets.token_hex(4)
    size = max(1, round(per_second / BATCHES))

    def publisher(number: int) -> None:
        due, pause = time.monotonic(), THREADS * size / per_second
        ask = _Asking(port)
        for index in range(number, 10**9, THREADS):
            if stopping.wait(max(0.0, due - time.monotonic())):
                break
            which = [(index * size + n) % len(channels) for n in range(size)]
            ask.until_answered([(channels[at], f"{run}-{index}-{n}") for n, at in enumerate(which)])
            with counts.get_lock():
                for at in which:
                    counts[at] += 1
            latest[number] = max(latest[number], time.monotonic() - due)
            due += pause
        ask.close()

    threads = [threading.Thread(target=publisher, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class _Asking:
    """One connection to the API, made anew when it fails."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: http.client.HTTPConnection | None = None

    def until_answered(self, publications: list[tuple[str, str]]) -> None:
        commands = [
            {"publish": {"channel": channel, "data": {"key": key}, "idempotency_key": key}}
            for channel, key in publications
        ]
        body = json.dumps({"commands": commands}).encode()
        while not self._answered(body):
            time.sleep(0.05)

    def _answered(self, body: bytes) -> bool:
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=6)
            headers = {"X-API-Key": API_KEY, "Content-Type": "application/json"}
            self._connection.request("POST", "/api/batch", body, headers)
            replies = json.loads(self._connection.getresponse().read())["replies"]
            return all("publish" in reply for reply in replies)
        except (OSError, http.client.HTTPException, ValueError, KeyError):
            self.close()
            return False

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
