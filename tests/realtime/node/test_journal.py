"""The journal: what instances note of themselves, bounded, without secrets; and how two starts are compared."""

from typing import Any

import pytest

from flotilla.realtime.conf import get_config
from flotilla.realtime.node import journal, snapshot
from flotilla.realtime.node.node import Node
from flotilla.store import get_store
from flotilla.store.shards import reset_store
from tests.realtime.client.nodes import REALTIME
from tests.store.pausing import hung
from tests.store.redis_process import RedisProcess, until


def kinds(incarnation: str) -> list[str]:
    """What is noted of a run, the oldest first."""
    found = [one for one in journal.recent(get_store(), 0, 100) if one.get("incarnation") == incarnation]
    return [one["kind"] for one in reversed(found)]


@pytest.mark.asyncio
async def test_a_run_notes_its_start_and_its_end(configured: Any) -> None:
    node = Node(get_config(), get_store(), "unit-0")
    await node.start()
    incarnation = node.presence.incarnation
    await until(lambda: kinds(incarnation) == ["start"])
    await node.close()
    assert kinds(incarnation) == ["start", "end"]


@pytest.mark.asyncio
async def test_an_end_does_not_wait_long_for_a_redis_that_hangs(configured: Any, mortal_redis: RedisProcess) -> None:
    """And is no failure."""
    configured.REDIS_URLS = [mortal_redis.url]
    reset_store()
    node = Node(get_config(), get_store(), "unit-0")
    await node.start()
    await until(lambda: node.presence.alive)
    with hung(mortal_redis):
        await node._tell_end()
    await node.close()


@pytest.mark.asyncio
async def test_it_keeps_the_newest_entries_alone(configured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "KEEPS", 5)
    for number in range(8):
        journal.note_sync(get_store(), "act", what=f"{number}")
    assert [one["what"] for one in journal.recent(get_store(), 0, 100)] == ["7", "6", "5", "4", "3"]
    newest = journal.recent(get_store(), 0, 1)[0]["at"]
    assert journal.recent(get_store(), newest + 1, 100) == []
    journal.note_sync(get_store(), "start", "unit-0", changed=["x" * journal.MAX_ENTRY])
    assert journal.recent(get_store(), 0, 1)[0] == {
        "kind": "start",
        "instance": "unit-0",
        "cut": True,
        "at": journal.recent(get_store(), 0, 1)[0]["at"],
    }


def test_values_that_may_be_secret_are_not_in_it(configured: Any) -> None:
    """Numbers and switches are, so that a change can be read; a change of the others shows all the same."""
    before = snapshot.of_this_process()
    assert before["setting max_channels"] == "5"
    assert before["setting anonymous"] == "True"
    assert before["package django"].startswith("5.") or before["package django"].startswith("6.")
    told = " ".join(before.values())
    assert "s" * 40 not in told and "k" * 32 not in told and configured.REDIS_URLS[0] not in told
    configured.REALTIME = REALTIME | {"max_channels": 7}
    configured.REALTIME_TOKEN_SECRET = "t" * 40
    get_config.reset()
    now = snapshot.of_this_process()
    assert journal.differences(before, now) == ["setting max_channels: 5 → 7", "setting token_secret: … → …"]
    assert journal.differences(now, snapshot.of_this_process()) == []


def test_changes_are_told_in_words_up_to_so_many() -> None:
    assert journal.differences({"a": "1", "b": "#x"}, {"b": "#y", "c": "2"}) == [
        "a: 1 → none",
        "b: … → …",
        "c: none → 2",
    ]
    many = {str(number): "1" for number in range(journal.MAX_CHANGED + 3)}
    assert journal.differences({}, many)[-1] == "… 3 more"


@pytest.mark.asyncio
async def test_what_another_release_has_left_is_passed_over(configured: Any) -> None:
    store = get_store()
    assert await journal.compare(store, {"a": "1"}) == []
    assert await journal.compare(store, {"a": "2"}) == ["a: 1 → 2"]
    await store.first.execute("SET", journal._last_start(), b'["of another kind"]')
    assert await journal.compare(store, {"a": "3"}) == []
    await store.close()
