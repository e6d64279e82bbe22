"""More and fewer Redises in short: everybody is whole or told, and nothing is left behind."""

from pathlib import Path

import pytest

from tests.cluster.campaigns.reshard import measured


@pytest.mark.timeout(900)
async def test_nobody_is_left_with_a_silent_gap(tmp_path: Path, redis_server: None) -> None:
    """One Redis becomes two, two become three, and three one; each time something is killed in the middle."""
    campaign, found = await measured(tmp_path, rooms=6, rate=3, pause=1)
    assert (found["lost"], found["repeated"], found["history"]) == (0, 0, 0)
    assert [step.lists for step in campaign.steps] == ["1 → 2", "2 → 3", "3 → 1"]
    assert found["told"] > 0  # of rooms that have moved
