"""What is asked of the limiter and what it answers. Plain data; times are seconds here, for people and protocols."""

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
    """What one policy said. `outcome` is one of `counts.OUTCOMES`, "" when another policy's denial left it unasked."""

    claim: Claim
    allowed: bool
    remaining: int
    retry_after: float
    reset: float
    outcome: str


@dataclass(slots=True)
class Decision:
    """All verdicts on one request. `at` is Redis's clock in µs when it decided, None where it was not asked."""

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
        """The verdicts that stood in the way."""
        return [verdict for verdict in self.verdicts if not verdict.allowed and not verdict.claim.policy.shadow]


ALLOWED = Decision(True, [])
"""For what no policy concerns."""
