"""A stretch of cable in this process: frames that come out of a TAP device go back into it later, in another order, or
not at all. For kernels without netem. It runs on the switch; the connections on both sides are the kernel's own.

A line on its input is a `Weather` as JSON; the end of the input is its end.
"""

import fcntl
import heapq
import json
import os
import random
import select
import struct
import sys
import time
from dataclasses import asdict, dataclass

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
FRAME = 1 << 16  # bytes at most
WAITING = 20_000  # frames at most; those above are lost, as at a full switch


@dataclass(frozen=True, slots=True)
class Weather:
    """What happens to a frame: it is late by `delay` seconds, give or take `jitter`; a share of `loss` is lost; a share
    of `overtaking` is not late at all. Without `jitter` those that are late keep their order."""

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    overtaking: float = 0.0

    def line(self) -> bytes:
        """As the process takes it."""
        return json.dumps(asdict(self)).encode() + b"\n"

    def netem(self) -> list[str]:
        """As options of netem, which says the same."""
        words = ["limit", str(WAITING), "delay", f"{self.delay * 1000:g}ms"]
        words += [f"{self.jitter * 1000:g}ms"] if self.jitter else []
        words += ["loss", f"{self.loss:.1%}"] if self.loss else []
        return words + (["reorder", f"{self.overtaking:.1%}"] if self.overtaking else [])

    def due(self, now: float, chance: random.Random) -> float | None:
        """When a frame that comes now goes on; None: never."""
        if self.loss and chance.random() < self.loss:
            return None
        if self.overtaking and chance.random() < self.overtaking:
            return now
        return now + max(0.0, self.delay + (chance.uniform(-self.jitter, self.jitter) if self.jitter else 0.0))


def open_tap(name: str) -> int:
    """The descriptor of a TAP device, made if it is not there. Raises OSError where that is not permitted."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TAP | IFF_NO_PI))
    return device


def relay(tap: int, orders: int) -> None:
    """Hand on frames as the newest of the orders says, until those end."""
    weather, chance = Weather(), random.Random()
    waiting: list[tuple[float, int, bytes]] = []
    number, unread = 0, b""
    while True:
        pause = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        ready, _, _ = select.select((tap, orders), (), (), pause)
        if orders in ready:
            told = os.read(orders, FRAME)
            if not told:
                return
            *lines, unread = (unread + told).split(b"\n")
            for line in lines:
                weather = Weather(**json.loads(line))
        if tap in ready:
            for frame in _frames(tap):
                due = weather.due(time.monotonic(), chance)
                if due is not None and len(waiting) < WAITING:
                    number += 1
                    heapq.heappush(waiting, (due, number, frame))
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _write(tap, heapq.heappop(waiting)[2])


def _frames(tap: int) -> list[bytes]:
    """What waits there, at most a hundred."""
    found = []
    try:
        while len(found) < 100:
            found.append(os.read(tap, FRAME))
    except BlockingIOError:
        pass
    return found


def _write(tap: int, frame: bytes) -> None:
    try:
        os.write(tap, frame)
    except OSError:  # the device is down, or full: so is a cable at times
        pass


if __name__ == "__main__":
    device = open_tap(sys.argv[1])
    print("ready", flush=True)
    relay(device, sys.stdin.fileno())
