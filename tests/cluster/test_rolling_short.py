"""The rolling restart in short: everybody is moved twice at most, misses and repeats nothing, and sees no error."""

import re
from pathlib import Path

import pytest

from tests.cluster.campaigns.rolling import restart
from tests.cluster.support.subscribers import Faults


@pytest.mark.timeout(200)
async def test_nobody_notices_a_rolling_restart(tmp_path: Path, redis_server: None) -> None:
    """100 clients, 40 publications a second; the pace is what the two others let in together, 60 each at most, and less
    where they have measured that they can do no more."""
    report = await restart(100, 40, tmp_path, admission_rate=60)
    assert report.faults == Faults() and not report.unrecovered
    assert [error for error in report.errors if "'temporary': True" not in error] == []  # that: a machine too busy
    drained = report.drained()
    assert set(drained) == {"unit-0", "unit-1"}
    assert len(report.moves) >= 100
    log = (tmp_path / "serve.log").read_text()
    rates = [int(rate) for rate in re.findall(r"2 other instances let in (\d+) clients a second", log)]
    assert len(rates) == 2
    assert all(0 < rate <= 120 for rate in rates)
    for moves in drained.values():
        assert f"told {len(moves)} clients to reconnect" in log
