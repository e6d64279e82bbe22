"""What compression costs and saves: `python -m tests.bench.compression`.

Payloads as projects send them, as frames of our own formats: bytes on the wire, the CPU time to make a frame once for
everybody in a process, and what a client spends to inflate it. Beside them delta updates of the table, which save bytes
where the receiver has the last version. Medians over rounds, in turns. Prints the table of docs/BENCHMARKS.md.
"""

import argparse
import json
import time
import zlib
from collections.abc import Callable
from statistics import median

from flotilla.realtime.protocol import deflate
from flotilla.realtime.protocol.encodings import JSON
from flotilla.realtime.protocol.formats import WEBSOCKET_JSON, deflated

LEVELS = (1, 6, 9)
ROUNDS = 7
SECONDS = 0.05  # of one measurement
CLIENT = {"user": "42", "client": "9f32c1de-4b7a-4c0e-9d43-1f6a2b7e8c90"}


def table(moved: int = 0) -> list[dict[str, object]]:
    """100 rows of a list of orders; `moved` of them have another price."""
    states = ("open", "paid", "sent", "returned")
    return [
        {
            "id": 81_000 + row * 7,
            "customer": f"{('Meyer', 'Okafor', 'Lindqvist', 'Tanaka')[row % 4]} {row * 37 % 89}",
            "state": states[row * 13 % 4],
            "total": round(12.5 + row * 3.37 + (1.25 if row < moved else 0), 2),
            "updated": f"2026-11-{1 + row % 28:02d}T{row % 24:02d}:{row * 11 % 60:02d}:00Z",
        }
        for row in range(100)
    ]


def changes(moved: int) -> list[dict[str, object]]:
    """What a list that sends only what changed says of as many rows."""
    return [{"id": row["id"], "total": row["total"]} for row in table(moved)[:moved]]


def pushes() -> dict[str, bytes]:
    """Publications by name, as clients get them."""
    text = "Has anybody looked at the numbers of last week? The second column cannot be right, I think."
    chat = {"id": 5123, "from": "ann", "text": text, "at": "2026-11-29T04:44:10Z"}
    tick = {"s": "EURUSD", "b": 1.08312, "a": 1.08321, "t": 1_764_391_450_123}
    bodies = {
        "a chat message": {"data": chat, "info": CLIENT},
        "a tick": {"data": tick},
        "32 ticks that leave together": {"data": tick},
        "a table of 100 rows": {"data": table()},
        "3 changed rows of it": {"data": changes(3)},
    }
    name = JSON.channel("orders:7")
    made = {key: JSON.publication(name, as_json(body), 1234) for key, body in bodies.items()}
    prices = [{"b": 1.08 + n * 0.00013, "t": 1_764_391_450_123 + n} for n in range(32)]
    ticks = [JSON.publication(name, as_json({"data": tick | price}), n + 1) for n, price in enumerate(prices)]
    return made | {"32 ticks that leave together": b"\n".join(ticks)}


def as_json(value: object) -> bytes:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


def microseconds(call: Callable[[], object]) -> float:
    """The CPU time of a call."""
    began, count = time.process_time(), 0
    while (took := time.process_time() - began) < SECONDS:
        for _ in range(20):
            call()
        count += 20
    return took / count * 1e6


def at_level(level: int, payload: bytes) -> Callable[[], bytes]:
    """Compressing at another level, as the format does."""
    stream = zlib.compressobj(level, zlib.DEFLATED, -deflate.LARGEST_WINDOW)
    return lambda: (stream.compress(payload) + stream.flush(zlib.Z_FULL_FLUSH))[:-4]


def medians(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The CPU time of each call, measured in turns."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            found[name].append(microseconds(call))
    return {name: median(times) for name, times in found.items()}


def cost(payload: bytes) -> list[str]:
    """What it is to send a payload as our format does."""
    squeezed = deflated(JSON, deflate.LARGEST_WINDOW, 1)
    plain, small = WEBSOCKET_JSON.frame((payload,)), squeezed.frame((payload,))
    compressed = deflate.deflater(deflate.LARGEST_WINDOW).deflate(payload)
    took = medians({
        "plain": lambda: WEBSOCKET_JSON.frame((payload,)),
        "deflated": lambda: squeezed.frame((payload,)),
        "inflated": lambda: deflate.inflate(compressed, 1 << 20),
    })  # fmt: skip
    sizes = len(plain.wire), len(small.wire)
    return [*(f"{size:,}" for size in sizes), f"{1 - sizes[1] / sizes[0]:.0%}", *(f"{us:.1f}" for us in took.values())]


def levels(payload: bytes) -> list[str]:
    """The same by each level of zlib."""
    calls = {str(level): at_level(level, payload) for level in LEVELS}
    took = medians({**calls})
    return [f"{len(call()):,} in {took[level]:.1f}" for level, call in calls.items()]


def of_a_message() -> tuple[float, float]:
    """CPU µs that compression adds to making the frame of a chat message, and the bytes of that message."""
    payload = pushes()["a chat message"]
    squeezed = deflated(JSON, deflate.LARGEST_WINDOW, 1)
    took = medians({
        "plain": lambda: WEBSOCKET_JSON.frame((payload,)),
        "deflated": lambda: squeezed.frame((payload,)),
    })  # fmt: skip
    return max(took["deflated"] - took["plain"], 0.0), float(len(payload))


def main() -> None:
    """Measure and print."""
    argparse.ArgumentParser(description="What compression costs and saves, as a table.").parse_args()
    heads = ["bytes", "compressed", "saved", "a frame, µs", "compressed, µs", "inflated, µs"]
    tables = {cost: heads, levels: [f"level {level}: bytes in µs" for level in LEVELS]}
    for line, columns in tables.items():
        print("| |", " | ".join(columns), "|\n|---|" + "---:|" * len(columns))
        for name, payload in pushes().items():
            print("|", " | ".join((name, *line(payload))), "|", flush=True)
        print()


if __name__ == "__main__":
    main()
