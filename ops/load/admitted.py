"""Whether the limits held, from the clients' side: what was admitted, against what was promised to each key.

A client knows when it asked and when it was answered; the decision lies between. So what is found here is certain, and
a small excess may hide behind a slow answer: `make burst` proves the same exactly, from Redis's own stamps.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from flotilla.ops.load.overshoot import overshoot
from flotilla.ratelimit.algorithms.rates import Rate


@dataclass(frozen=True, slots=True)
class Held:
    """One policy over a run: `keys` that were counted, `admitted` in all, and the `worst` excess of any key."""

    policy: str
    rate: Rate
    keys: int
    admitted: int
    worst: int


def judge(promised: Mapping[str, Rate], lines: Iterable[str]) -> list[Held]:
    """What the journal (lines of policy, key, asked, answered; microseconds) says of each promise."""
    found: dict[str, dict[str, list[tuple[int, int]]]] = {policy: defaultdict(list) for policy in promised}
    for line in lines:
        policy, key, asked, answered = json.loads(line)
        if policy in found:
            found[policy][key].append((asked, answered))
    return [
        Held(
            policy,
            promised[policy],
            len(keys),
            sum(map(len, keys.values())),
            max((_worst(promised[policy], moments) for moments in keys.values()), default=0),
        )
        for policy, keys in found.items()
    ]


def journal(folder: Path) -> list[str]:
    """The lines of all workers."""
    return [line for path in sorted(folder.glob("admitted-*.jsonl")) for line in path.read_text().splitlines()]


def _worst(rate: Rate, moments: list[tuple[int, int]]) -> int:
    moments.sort()
    return overshoot(rate, [asked for asked, _ in moments], [answered for _, answered in moments])
