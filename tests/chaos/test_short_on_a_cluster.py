"""The campaign in short on a Redis Cluster: slots move and a master is killed, and nobody misses anything untold."""

import shutil
from pathlib import Path

import pytest

from tests.chaos.checker import check
from tests.chaos.log import FaultEnded, Healed
from tests.chaos.run import RULES, Campaign
from tests.chaos.test_short import STREAMS


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # sockets cut at the end die with the loop
@pytest.mark.skipif(shutil.which("redis-server") is None, reason="no redis-server on the PATH")
@pytest.mark.parametrize("fault", ["slots moved", "master killed"])
async def test_nobody_misses_anything_untold(tmp_path: Path, fault: str) -> None:
    campaign = Campaign(tmp_path, minutes=0.05, seed=1, shards=1, only=fault, cluster=True)
    await campaign.run()
    assert campaign.log.publications > 100
    assert campaign.log.deliveries > 500
    assert any(isinstance(event, FaultEnded) for event in campaign.log)
    healed = [event for event in campaign.log if isinstance(event, Healed)]
    assert healed and not any(event.missing for event in healed)
    found = check(campaign.log, RULES)
    assert [violation for violation in found if violation.kind in STREAMS | {"not back"}] == []
