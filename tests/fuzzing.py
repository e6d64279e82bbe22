"""How long the fuzzers go on, and from which seed: one way of saying it for all of them.

`FLOTILLA_FUZZ_SECONDS` (3 in `make test`, 60 in CI's long tests, 600 and more by hand) and `FLOTILLA_FUZZ_SEED`; a run
that found something says which seed to repeat it with.
"""

import os
import time
from collections.abc import Iterator

SECONDS = float(os.environ.get("FLOTILLA_FUZZ_SECONDS", "3"))
SEED = int(os.environ.get("FLOTILLA_FUZZ_SEED", "1"))


def seeds(seconds: float = SECONDS, seed: int = SEED) -> Iterator[int]:
    """Seeds of one case after another, at least one, until the time is over."""
    ends = time.monotonic() + seconds
    while True:
        yield seed
        seed += 1
        if time.monotonic() > ends:
            return
