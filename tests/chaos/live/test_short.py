"""Live data through faults, in short: tabs on Node, and three of a real browser, one of them on server-sent events."""

from pathlib import Path

import pytest

from tests.chaos.live.run import LiveCampaign
from tests.chaos.live.tabs import PageTabs
from tests.cluster.support.chromium import EXECUTABLE
from tests.cluster.support.driven import node
from tests.host.support.postgres import programs

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings(
        "ignore::pytest.PytestUnraisableExceptionWarning"  # sockets cut at the end die with the loop
    ),
    pytest.mark.skipif(programs() is None, reason="PostgreSQL is not installed"),
]


@pytest.mark.skipif(node is None, reason="no Node on the PATH, or no `npm ci` in tests/cluster")
async def test_every_tab_shows_what_was_committed_while_processes_are_killed(tmp_path: Path) -> None:
    campaign = LiveCampaign(tmp_path, minutes=0.2, seed=3, only="killed")
    await campaign.run()
    judge(campaign)


@pytest.mark.skipif(EXECUTABLE is None or node is None, reason="no Chromium on the PATH, or no `npm ci`")
async def test_three_tabs_of_a_browser_show_what_was_committed_while_processes_are_killed(tmp_path: Path) -> None:
    transports = ("websocket", "websocket", "sse")
    campaign = LiveCampaign(tmp_path, minutes=0.2, seed=4, only="killed", transports=transports, where=PageTabs)
    await campaign.run()
    judge(campaign)


def judge(campaign: LiveCampaign) -> None:
    assert campaign.figures["committed"] > 50
    assert campaign.figures["faults"] > 0
    assert campaign.figures["states shown"] > 300
    assert campaign.violations == []
