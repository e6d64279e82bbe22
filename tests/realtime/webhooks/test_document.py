"""What docs/WEBHOOKS.md says: its receiver takes what we sign and nothing else, its table has every event."""

import re
import time
from pathlib import Path
from typing import Any

import pytest

from flotilla.presence.outbox import KINDS
from flotilla.realtime.webhooks.requests import body_of, signature

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "WEBHOOKS.md").read_text()
RECEIVER = next(code for code in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL) if "def events" in code)


@pytest.fixture
def events() -> Any:
    names: dict[str, Any] = {}
    exec(compile(RECEIVER, "WEBHOOKS.md", "exec"), names)
    return names["events"]


def test_the_receiver_is_short() -> None:
    assert len([line for line in RECEIVER.splitlines() if line.strip()]) <= 10


def test_the_receiver_takes_what_is_signed(events: Any) -> None:
    body = body_of([b'{"id":"a"}'])
    assert events(signature(("new", "old"), int(time.time()), body), body, "old") == [{"id": "a"}]


def test_the_receiver_refuses_what_is_forged_old_or_changed(events: Any) -> None:
    body, now = body_of([b'{"id":"a"}']), int(time.time())
    good = signature(("secret",), now, body)
    for header, said, secret in (
        (good, body, "another"),
        (good, body + b" ", "secret"),
        (signature(("secret",), now - 3600, body), body, "secret"),
        (good.replace(f"t={now}", f"t={now + 1}"), body, "secret"),
        (f"t={now}", body, "secret"),
    ):
        with pytest.raises(PermissionError):
            events(header, said, secret)


def test_the_table_has_every_event() -> None:
    assert re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE) == list(KINDS)
