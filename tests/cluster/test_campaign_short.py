"""The campaign in short: an instance dies under load, and nobody misses, repeats or reorders anything."""

from pathlib import Path

import pytest

from campaign import Faults, campaign


@pytest.mark.timeout(170)
async def test_nothing_is_lost_while_an_instance_is_killed(tmp_path: Path, redis_server: None) -> None:
    """600 publications to 40 subscribers, one kill."""
    assert await campaign(600, 40, 4, 1, tmp_path) == Faults()
