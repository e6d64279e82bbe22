"""Sessions: made by the cluster, found while their clients are there, and remembered for a while."""

from typing import Any

import pytest

from flotilla.realtime.node import sessions as module
from flotilla.realtime.node.sessions import Sessions, is_genuine
from flotilla.realtime.server.budget import Allowance


class Client:
    """Counts what it is given."""

    def __init__(self) -> None:
        self.said: list[str | bytes] = []
        self.more = 0
        self.overruns = 0

    def receive(self, message: str | bytes) -> int:
        self.said.append(message)
        return self.more

    def overrun(self) -> None:
        self.overruns += 1


def made(frames: int = 100, size: int = 1000) -> tuple[Sessions, Any, str]:
    sessions, client = Sessions(Allowance(frames, size)), Client()
    return sessions, client, sessions.begin(client)  # type: ignore[arg-type]


def test_what_is_said_is_handed_on() -> None:
    sessions, client, session = made()
    assert is_genuine(session, sessions.name)
    assert sessions.deliver(session, "{}")
    assert client.said == ["{}"]


def test_an_invented_one_is_no_session() -> None:
    sessions, _, session = made()
    for other in ("", "a", session[:-1], session.upper(), session + "a", "A" * 22 + session[22:]):
        assert not is_genuine(other, sessions.name)
        assert not sessions.deliver(other, "{}")
    assert not is_genuine(session, Sessions(Allowance(1, 1)).name)  # of another node
    assert not is_genuine(session, "")


def test_a_key_that_was_changed_counts_for_a_while(settings: Any) -> None:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "old" * 20, []
    sessions, _, session = made()
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new" * 20, ["old" * 20]
    assert is_genuine(session, sessions.name)
    settings.SECRET_KEY_FALLBACKS = []
    assert not is_genuine(session, sessions.name)


def test_one_that_has_ended_lately_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes for it is too late, and no stranger's; only so many are remembered."""
    monkeypatch.setattr(module, "MAX_ENDED", 2)
    sessions, client, session = made()
    sessions.end(session)
    assert sessions.deliver(session, "{}")
    assert client.said == []
    for _ in range(2):
        sessions.end(sessions.begin(client))
    assert not sessions.deliver(session, "{}")
    assert not len(sessions)


@pytest.mark.parametrize(("frames", "size", "more"), [(2, 1000, 0), (100, 25, 0), (100, 1000, 90)])
def test_who_says_too_much_is_told_so(frames: int, size: int, more: int) -> None:
    """Requests, bytes and commands count as frames and bytes of a WebSocket do."""
    sessions, client, session = made(frames, size)
    client.more = more
    for _ in range(10):
        sessions.deliver(session, "x" * 10)
    assert client.overruns
