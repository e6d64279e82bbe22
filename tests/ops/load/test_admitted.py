"""What a limit admitted during a run, by its own journal."""

import json
from pathlib import Path

from flotilla.ops.load import admitted
from flotilla.ratelimit.algorithms.rates import parse_rate

RATE = parse_rate("10/s burst=5")


def test_the_worst_key_of_each_policy_is_told(tmp_path: Path) -> None:
    def line(policy: str, key: str, asked: int) -> str:
        return json.dumps([policy, key, asked, asked + 1000])

    def told(worker: int, *asked: int) -> None:
        text = "".join(line("publish", "a", moment) + "\n" for moment in asked)
        (tmp_path / f"admitted-{worker}-1.jsonl").write_text(text)

    told(1, *[5_000_000] * 4)
    told(2, 0, 0, 0, *[5_000_000] * 3)  # seven at one moment, and three long before that are no matter
    lines = [*admitted.journal(tmp_path), line("publish", "b", 0), line("other", "a", 0)]
    [held] = admitted.judge({"publish": RATE}, lines)
    assert (held.keys, held.admitted, held.worst) == (2, 11, 2)
