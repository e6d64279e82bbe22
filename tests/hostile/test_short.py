"""The campaign in short: every attack for a few seconds, and what is large or long in small. Nobody notices anything.

What a busy machine cannot measure is left out: memory, answers, logs and connections are judged on any.
"""

import os
import shutil
from pathlib import Path

import pytest

from tests.hostile.attacks import ATTACKS
from tests.hostile.ground import can_balance
from tests.hostile.run import campaign, choose
from tests.hostile.verdict import judge, table

SECONDS = float(os.environ.get("FLOTILLA_HOSTILE_SECONDS", "2"))
GROUPS = sorted({attack.group for attack in ATTACKS.values()})
SMALL, BRIEF = 40_000_000, 6.0  # bytes and seconds of the transfers
MAX_SECONDS = 30.0  # seconds that one attack may take here

pytestmark = [
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="no redis-server on the PATH"),
    pytest.mark.timeout(MAX_SECONDS * len(ATTACKS)),
    # sockets cut at the end die with the loop
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


async def noticed(home: Path, only: str, behind: str = "") -> list[str]:
    """What was noticed of the attacks of a group."""
    attacks = choose(only, bool(behind))
    seen = await campaign(home, attacks, SECONDS, behind, size=SMALL, events=BRIEF)
    print(table(seen))
    return [f"{one.name}: {fault}" for one in seen for fault in judge(one).faults]


@pytest.mark.parametrize("group", GROUPS)
async def test_nobody_notices_an_attack(tmp_path: Path, group: str) -> None:
    assert await noticed(tmp_path, group) == []


@pytest.mark.skipif(not can_balance(), reason="no haproxy on the PATH")
@pytest.mark.parametrize("group", sorted({attack.group for attack in ATTACKS.values() if attack.http}))
async def test_nobody_notices_an_attack_through_the_balancer(tmp_path: Path, group: str) -> None:
    assert await noticed(tmp_path, group, "haproxy") == []
