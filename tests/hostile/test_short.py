"""The campaign in short: an attack of each kind for a few seconds. Nobody notices anything. `make hostile` plays all.

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
KINDS = (
    "form-of-20-MB",
    "form-of-9-MB-to-the-login",
    "chunks-without-end",
    "slow-bodies",
    "json-without-a-key",
    "pipelined-and-unread",
    "large-and-unread",
    "large-stream-of-Django-and-unread",
    "read-by-the-byte",
    "silent-connections",
    "heads-by-the-byte",
    "wrong-requests",
    "root-path-of-a-client",
    "silent-handshakes",
    "half-requests-of-metrics",
    "pings",
    "empty-fragments",
    "pings-in-one-reading",
    "fragments-that-are-kept",
)
THROUGH_THE_BALANCER = (
    "form-of-20-MB",
    "pipelined-and-unread",
    "large-and-unread",
    "root-path-of-a-client",
    "idle-connections",
)
SMALL, BRIEF = 40_000_000, 6.0  # bytes and seconds of the transfers
LONGEST = 30.0  # seconds that one attack may take here

pytestmark = [
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="no redis-server on the PATH"),
    pytest.mark.timeout(4 * LONGEST),
    # sockets cut at the end die with the loop
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


async def noticed(home: Path, only: str, behind: str = "") -> list[str]:
    """What was noticed of an attack."""
    attacks = choose(only, bool(behind))
    seen = await campaign(home, attacks, SECONDS, behind, size=SMALL, events=BRIEF)
    print(table(seen))
    return [f"{one.name}: {fault}" for one in seen for fault in judge(one).faults]


@pytest.mark.parametrize("attack", KINDS)
async def test_nobody_notices_an_attack(tmp_path: Path, attack: str) -> None:
    assert await noticed(tmp_path, attack) == []


@pytest.mark.skipif(not can_balance(), reason="no haproxy on the PATH")
@pytest.mark.parametrize("attack", THROUGH_THE_BALANCER)
async def test_nobody_notices_an_attack_through_the_balancer(tmp_path: Path, attack: str) -> None:
    assert await noticed(tmp_path, attack, "haproxy") == []


def test_every_kind_is_an_attack() -> None:
    assert {*KINDS, *THROUGH_THE_BALANCER} <= set(ATTACKS)
