"""What a bucket answers, whichever arithmetic it follows."""

from typing import NamedTuple


class Answer(NamedTuple):
    """Times are microseconds. `retry_after` is 0 when allowed, `reset` is when the whole quota is there again."""

    allowed: bool
    remaining: int
    retry_after: int
    reset: int
