"""The campaign in short: instances are killed under load, and nobody misses, repeats or reorders anything."""

import shutil
from pathlib import Path

import pytest

from tests.chaos.checker import check
from tests.chaos.log import FaultEnded
from tests.chaos.run import RULES, Campaign

STREAMS = {"gap", "duplicate", "reorder", "deaf", "lost", "changed", "doubled", "untrue recovery", "before reply"}


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # sockets cut at the end die with the loop
@pytest.mark.skipif(shutil.which("redis-server") is None, reason="no redis-server on the PATH")
async def test_nothing_is_lost_while_instances_are_killed(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, minutes=0.05, seed=1, shards=1, only="instance killed")
    await campaign.run()
    assert campaign.log.publications > 100
    assert campaign.log.deliveries > 500
    assert any(isinstance(event, FaultEnded) for event in campaign.log)
    found = check(campaign.log, RULES)
    assert [violation for violation in found if violation.kind in STREAMS] == []
