"""The line that lives while a run goes on, and what it was made of second by second, for the charts."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

EVERY = 10.0  # seconds between lines where nobody looks at a terminal


def seconds(folder: Path) -> list[dict[str, Any]]:
    """What the workers told, one entry a second, in order. A line that is being written is left out."""
    found = []
    for path in sorted(folder.glob("progress-*.jsonl")):
        for line in path.read_text().splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
    return sorted(found, key=lambda entry: float(entry["second"]))


class Live:
    """Call `show` often: it rewrites one line on a terminal, and writes one now and then elsewhere."""

    def __init__(self, profile: str, folder: Path, say: Callable[[str], None]) -> None:
        self._profile = profile
        self._folder = folder
        self._say = say
        self._terminal = sys.stdout.isatty()
        self._shown = ""
        self._told = time.monotonic()

    def show(self) -> None:
        """How it stands now."""
        told = seconds(self._folder)
        line = self._line(told[-1]) if told else f"{self._profile}: starting Artillery …"
        if self._terminal and line != self._shown:
            sys.stdout.write(f"\r\x1b[K{line}")
            sys.stdout.flush()
        elif not self._terminal and told and time.monotonic() - self._told > EVERY:
            self._told = time.monotonic()
            self._say(line)
        self._shown = line

    def end(self) -> None:
        """Leave the line."""
        if self._terminal:
            sys.stdout.write("\r\x1b[K")

    def _line(self, now: dict[str, Any]) -> str:
        p95 = "no deliveries" if now["p95"] is None else f"p95 {now['p95']:.1f} ms"
        counts = ", ".join(f"{now[name]} {name}" for name in ("clients", "delivered", "pages", "denied", "failed"))
        return f"{self._profile} {now['second']:>4} s: {p95}, {counts}"
