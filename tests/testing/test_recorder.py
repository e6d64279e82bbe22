"""What the recorder keeps, and how its assertions fail."""

import datetime
import uuid
from unittest.mock import ANY

import pytest

from flotilla.realtime.api.publishing import body_of, encode_data
from flotilla.realtime.engine.publication import StreamPosition
from flotilla.testing.recorder import Recorder

PLACE = StreamPosition("epoch", 7)


def note(recorder: Recorder, channel: str, data: object, *, sent: bool = True, **keywords: object) -> object:
    """Have something recorded; what the call that sends it holds."""
    body = body_of(encode_data(data), {"of": "a test"} if keywords.pop("tagged", False) else None)
    call = recorder.note(channel, body, keywords)  # type: ignore[arg-type]
    if sent:
        call(PLACE)
    return call


def test_what_was_sent_has_its_position() -> None:
    recorder = Recorder()
    note(recorder, "a", {"n": 1}, tagged=True, idempotency_key="once", version=0)
    (one,) = recorder
    assert (one.channel, one.data, one.tags) == ("a", {"n": 1}, {"of": "a test"})
    assert one.options == {"idempotency_key": "once"}
    assert (one.sent, one.pending, one.offset, one.epoch) == (True, False, 7, "epoch")


def test_what_waits_is_there_until_its_call_is_gone() -> None:
    recorder = Recorder()
    call = note(recorder, "a", 1, sent=False)
    assert [one.data for one in recorder.pending] == [1] and len(recorder) == 1
    recorder.assert_published("a", 1, pending=True)
    del call
    assert len(recorder) == 0 and [one.state for one in recorder.unsent] == ["never sent"]
    recorder.assert_nothing_published()


def test_it_is_a_list() -> None:
    recorder = Recorder()
    for number in range(3):
        note(recorder, f"channel-{number % 2}", number)
    assert [one.data for one in recorder] == [0, 1, 2] and recorder[-1].data == 2
    assert [one.data for one in recorder[1:]] == [1, 2]
    assert [one.data for one in recorder.to("channel-0")] == [0, 2]
    recorder.clear()
    assert not recorder


def test_data_is_compared_as_json_has_it() -> None:
    recorder, key, day = Recorder(), uuid.uuid4(), datetime.date(2026, 1, 2)
    note(recorder, "a", {"key": key, "day": day, "pair": (1, 2)})
    recorder.assert_published("a", {"key": key, "day": day, "pair": (1, 2)})
    recorder.assert_published("a", {"key": str(key), "day": ANY, "pair": [1, 2]})
    with pytest.raises(AssertionError):
        recorder.assert_published("a", {"key": str(key), "day": ANY, "pair": [1, 3]})
    with pytest.raises(AssertionError):
        recorder.assert_published("a", {"key": object()})


def test_a_failure_says_what_was_published_instead() -> None:
    recorder = Recorder()
    note(recorder, "a", {"n": 1})
    waiting = note(recorder, "b", {"n": 2}, sent=False)
    with pytest.raises(AssertionError) as failed:
        recorder.assert_published("a", {"n": 2})
    assert str(failed.value) == (
        "nothing was published into 'a' with {'n': 2}; published were:\n"
        "  <a {'n': 1} (sent)>\n"
        "  <b {'n': 2} (waits for the commit)>"
    )
    with pytest.raises(AssertionError, match="nothing was published into 'b' and was sent"):
        recorder.assert_published("b", pending=False)
    with pytest.raises(AssertionError, match="2 publications were made; published were"):
        recorder.assert_nothing_published()
    with pytest.raises(AssertionError, match="1 publications were made into 'b'"):
        recorder.assert_nothing_published("b")
    recorder.assert_nothing_published("c")
    del waiting


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, r"too often was published into 'a' \(2 instead of 0 times\)"), (1, "too often"), (3, "only 2 times")],
)
def test_how_often_it_was_published_counts(count: int, said: str) -> None:
    recorder = Recorder()
    for _ in range(2):
        note(recorder, "a", 1)
    assert len(recorder.assert_published("a", 1, count=2)) == 2
    with pytest.raises(AssertionError, match=said):
        recorder.assert_published("a", count=count)


def test_nothing_at_all_is_said_so_and_many_are_cut_short() -> None:
    recorder = Recorder()
    with pytest.raises(AssertionError, match="nothing was published at all"):
        recorder.assert_published("a")
    for number in range(30):
        note(recorder, "b", number)
    with pytest.raises(AssertionError, match="and 10 more"):
        recorder.assert_published("a")


def test_tags_can_be_asked_for() -> None:
    recorder = Recorder()
    note(recorder, "a", 1, tagged=True)
    recorder.assert_published("a", tags={"of": "a test"})
    with pytest.raises(AssertionError, match="with tags"):
        recorder.assert_published("a", tags={})
