"""The outbox's campaign in short: one who relays is killed, and Redis comes back older."""

from pathlib import Path

import pytest

from tests.cluster.campaigns.outbox import WRITERS, prove
from tests.host.support.postgres import programs

STEPS = ((0.2, "kill the relay"), (0.4, "keep a snapshot"), (0.6, "restart Redis from the snapshot"))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", WRITERS)
def test_exactly_what_was_committed_in_the_order_of_the_commits(kind: str, tmp_path: Path) -> None:
    if kind == "postgresql" and programs() is None:
        pytest.skip("PostgreSQL is not installed")
    campaign = prove(tmp_path, kind, messages=480, rate=40.0, seed=2, steps=STEPS)
    assert campaign.said["committed"] > 200
    assert campaign.said["undone"] > 50
    assert campaign.faults == []
