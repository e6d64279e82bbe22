"""The rolling restart in short: everybody is moved twice at most, misses and repeats nothing, and sees no error."""

from pathlib import Path

import pytest

from tests.cluster.campaigns.rolling import restart
from tests.cluster.support.subscribers import Faults


@pytest.mark.timeout(200)
async def test_nobody_notices_a_rolling_restart(tmp_path: Path, redis_server: None) -> None:
    """100 clients, 40 publications a second; the pace is what the two others let in together."""
    report = await restart(100, 40, tmp_path, admission_rate=60)
    assert report.faults == Faults() and not report.unrecovered
    assert [error for error in report.errors if "'temporary': True" not in error] == []  # that: a machine too busy
    drained = report.drained()
    assert set(drained) == {"unit-0", "unit-1"}
    assert len(report.moves) >= 100
    log = (tmp_path / "serve.log").read_text()
    assert log.count("2 other instances let in 120 clients a second") == 2
    for moves in drained.values():
        assert f"told {len(moves)} clients to reconnect" in log
