"""Publications that were given up: all are counted, and the log stays readable."""

import pytest

from flotilla.realtime.losses import LINES, PERIOD, Losses
from flotilla.store import StoreRefused, StoreUnavailable
from flotilla.store.errors import StoreNotAsked, StoreSilent, Unreadable


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (StoreUnavailable("refused"), "unreachable"),
        (StoreSilent("2 s"), "silent"),
        (StoreNotAsked("known"), "not_asked"),
        (StoreRefused("OOM", "OOM command not allowed"), "refused"),
        (Unreadable("nonsense"), "unreachable"),
    ],
)
def test_each_has_one_reason(error: StoreUnavailable, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    """Which the log has as a field, beside the channel."""
    losses = Losses()
    losses.note("room:7", error)
    assert {name: n for name, n in losses.by_reason.items() if n} == {reason: 1}
    [record] = caplog.records
    assert (record.levelname, record.__dict__["channel"], record.__dict__["reason"]) == ("ERROR", "room:7", reason)
    assert "room:7" in record.getMessage() and str(error) in record.getMessage()


def test_a_flood_of_them_is_no_flood_of_lines(caplog: pytest.LogCaptureFixture) -> None:
    """The next line says how many were not told."""
    now = [100.0]
    losses = Losses(lambda: now[0])
    for _ in range(LINES + 7):
        losses.note("room", StoreSilent("2 s"))
    assert losses.by_reason["silent"] == LINES + 7
    assert len(caplog.records) == LINES
    now[0] += PERIOD
    for _ in range(2):
        losses.note("room", StoreSilent("2 s"))
    assert ["7 more" in record.getMessage() for record in caplog.records[LINES:]] == [True, False]


def test_every_reason_is_counted_from_0() -> None:
    """A rate needs a first value."""
    assert dict(Losses().by_reason) == {"unreachable": 0, "silent": 0, "not_asked": 0, "refused": 0}
