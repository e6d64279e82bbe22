"""The verdict on the outbox's campaign finds each fault there can be, and none where there is none."""

from typing import Any

import pytest

from tests.cluster.campaigns.outbox_verdict import history_faults, span_faults, spans

CHANNEL = "outbox:1"
COMMITTED = [4, 2, 9, 7]


@pytest.mark.parametrize(
    ("found", "fault"),
    [
        ([4, 2, 7], "1 missing (9)"),
        ([4, 2, 9, 7, 5], "1 never committed (5)"),
        ([4, 4, 2, 9, 7], "1 more than once (4)"),
        ([4, 9, 2, 7], "1 before what was committed earlier (2)"),
    ],
)
def test_what_is_wrong_with_history_is_named(found: list[int], fault: str) -> None:
    assert fault in history_faults(COMMITTED, found)
    assert history_faults(COMMITTED, COMMITTED) == []


def subscribed(epoch: str, offset: int, recovered: bool = False) -> dict[str, Any]:
    position = {"epoch": epoch, "offset": offset}
    return {"event": "subscribed", "channel": CHANNEL, "stream_position": position, "recovered": recovered}


def published(offset: int, number: int) -> dict[str, Any]:
    return {"event": "publication", "channel": CHANNEL, "offset": offset, "data": {"n": number}}


@pytest.mark.parametrize(
    ("events", "fault"),
    [
        ([subscribed("a", 0), published(1, 4), published(3, 9)], "offsets after 0 in epoch a: [1, 3] … [1, 3]"),
        ([subscribed("a", 0), published(1, 2), published(2, 4)], "1 out of order (4)"),
        ([subscribed("a", 0), published(1, 5)], "1 never committed (5)"),
        (
            [subscribed("a", 0), published(1, 4), subscribed("a", 1), published(2, 4)],
            "1 more than once in an epoch (4)",
        ),
        ([subscribed("a", 0), published(1, 4), subscribed("a", 2, recovered=True), published(2, 2)], None),
        ([subscribed("a", 0), published(1, 4), subscribed("b", 0), published(1, 4), published(2, 2)], None),
        ([subscribed("a", 0), published(1, 4), subscribed("a", 2), published(3, 9)], None),
    ],
)
def test_what_is_wrong_with_what_a_subscriber_got_is_named(events: list[dict[str, Any]], fault: str | None) -> None:
    faults = span_faults(COMMITTED, list(spans(events, CHANNEL)))
    assert faults == ([] if fault is None else [fault])
