"""Hears what Redis announces, and says when the first and the last of COUNT messages came, and how old each was.

    python -m tests.bench.relays.ear PORT COUNT

Says `{"listening": true}` first. A message has in it `"n":number,"at":microsecond of its writing`.
"""

import json
import re
import socket
import sys
import time
from statistics import quantiles

from tests.bench.servers.base import resp

MESSAGE = re.compile(rb'"n":(\d+),"at":(\d+)')
SILENCE = 60.0  # seconds without anything, after which the rest is lost


def main() -> None:
    port, count = map(int, sys.argv[1:])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(resp("PSUBSCRIBE", "*"))
        connection.settimeout(SILENCE)
        text = connection.recv(1 << 16)
        print(json.dumps({"listening": True}), flush=True)
        ages: list[float] = []
        numbers: set[int] = set()
        first = last = 0.0
        text = b""
        while len(numbers) < count:
            try:
                text += connection.recv(1 << 20)
            except TimeoutError:
                break
            now, end = time.time(), 0
            for found in MESSAGE.finditer(text):
                first, last, end = first or now, now, found.end()
                numbers.add(int(found[1]))
                ages.append(now - int(found[2]) / 1e6)
            text = text[max(end, len(text) - 100) :]
    cuts = quantiles(ages, n=100, method="inclusive") if len(ages) > 1 else [0.0] * 99
    said = {"heard": len(ages), "lost": count - len(numbers), "seconds": last - first}
    print(json.dumps(said | {"p50_ms": cuts[49] * 1000, "p95_ms": cuts[94] * 1000}), flush=True)


if __name__ == "__main__":
    main()
