"""What is asked of the limiter and what it answers. Plain data; times are seconds, as in protocols."""

from dataclasses import dataclass
from typing import NamedTuple

from flotilla.ratelimit.algorithms.rates import Rate
from flotilla.ratelimit.policies import Policy


class Claim(NamedTuple):
    """One policy that concerns a request: whom it counts, at which rate, and the Redis key of the two."""

    policy: Policy
    identity: str
    rate: Rate
    key: str


class Verdict(NamedTuple):
    """What one policy said. `outcome` is one of `counts.OUTCOMES`, or "" where another denied before it was asked."""

    claim: Claim
    allowed: bool
    remaining: int
    retry_after: float
    reset: float
    outcome: str


@dataclass(slots=True)
class Decision:
    """All verdicts on one request. `at` is Redis's time of the decision in µs, None where Redis was not asked."""

    allowed: bool
    verdicts: list[Verdict]
    at: int | None = None

    @property
    def retry_after(self) -> float:
        """Seconds until it is worth trying again; 0 when allowed."""
        denied = [verdict.retry_after for verdict in self.denials]
        return max(denied, default=0.0)

    @property
    def denials(self) -> list[Verdict]:
        """The verdicts that deny the request; those of shadow policies never do."""
        return [verdict for verdict in self.verdicts if not verdict.allowed and not verdict.claim.policy.shadow]


ALLOWED = Decision(True, [])
"""The decision on a request that no policy concerns."""
