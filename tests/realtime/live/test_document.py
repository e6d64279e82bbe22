"""The examples of docs/LIVE.md run, on the desk's models."""

import re
from pathlib import Path

import pytest

from flotilla import live
from flotilla.realtime.live import registry
from flotilla.testing import recording
from tests.realtime.live.desk.models import Board, Ticket

ROOT = Path(__file__).resolve().parents[3]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def examples() -> list[str]:
    text = (ROOT / "docs" / "LIVE.md").read_text()
    section = re.search(r"^## Live models$(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert section is not None
    renamed = section[1].replace("tickets_ticket", "desk_ticket").replace("TicketLive", "DocumentedLive")
    return BLOCK.findall(renamed.replace("tickets.models", "tests.realtime.live.desk.models"))


@pytest.mark.django_db
def test_they_run() -> None:
    declared, told = examples()
    exec(declared.replace('"board:', '"author:'), {"__name__": __name__})
    try:
        board = Board.objects.create()
        Ticket.objects.create(board=board, title="a")
        with recording() as published:
            exec(told, {})
        operations = [one.data["op"] for one in published.to(f"author:{board.pk}")]
        assert operations == ["remove"]  # what was set before in the same transaction is not sent
    finally:
        known = registry.live_by_label("desk.DocumentedLive")
        assert known is not None and live is not None
        registry.forget(known)
