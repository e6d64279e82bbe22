"""A drain does one thing after the other, within its deadline, and ends the process whatever fails."""

import asyncio
import signal
import time
from collections.abc import Iterator

import pytest

from flotilla.realtime.server import drain as module
from flotilla.realtime.server import signals
from flotilla.realtime.server.drain import drain, is_leaving
from flotilla.realtime.server.signals import end, on_drain, on_end

pytestmark = pytest.mark.asyncio

ORDER = ["leaving", "on_drain", "stop_listening", "send_away", "refuse_new", "quiet", "on_end", "stop"]


class Server:
    """Notes what it is told, and when."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.times: dict[str, float] = {}
        self.within = 0.0
        self.fails = ""
        self.hangs = ""

    def note(self, what: str) -> None:
        self.told.append(what)
        self.times[what] = time.monotonic()
        if what == self.fails:
            raise RuntimeError("as it was asked to")

    async def act(self, what: str) -> None:
        self.note(what)
        if what == self.hangs:
            await asyncio.Event().wait()

    def stop_listening(self) -> None:
        self.note("stop_listening")

    def refuse_new(self) -> None:
        self.note("refuse_new")

    async def send_away(self, within: float) -> None:
        self.within = within
        await self.act("send_away")

    async def quiet(self) -> None:
        await self.act("quiet")

    def stop(self) -> None:
        self.note("stop")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Its drain is not ended by the kernel, and the process of the tests does not leave for long."""
    made = Server()
    monkeypatch.setattr(signal, "alarm", lambda seconds: made.note(f"alarm {seconds}"))
    monkeypatch.setattr(module, "_leaving", False)
    monkeypatch.setattr(signals, "_left", False)

    async def release(**_: object) -> None:
        if is_leaving():
            made.note("leaving")
        await made.act("on_drain")

    async def ending(**_: object) -> None:
        await made.act("on_end")

    on_drain.connect(release, weak=False, dispatch_uid="test")
    on_end.connect(ending, weak=False, dispatch_uid="test")
    yield made
    on_drain.disconnect(dispatch_uid="test")
    on_end.disconnect(dispatch_uid="test")


async def test_one_thing_after_the_other(server: Server) -> None:
    await drain(server, grace=0.1, deadline=5.0)
    assert server.told == ["alarm 7", *ORDER]
    assert server.times["stop_listening"] - server.times["on_drain"] >= 0.1
    assert server.times["send_away"] - server.times["stop_listening"] >= module.SETTLE * 0.99
    assert 2.5 < server.within < 5.0 - module.LAST_WORDS - 0.1


@pytest.mark.parametrize("what", ["send_away", "quiet", "on_end"])
async def test_it_ends_at_its_deadline(server: Server, what: str) -> None:
    server.hangs = what
    began = time.monotonic()
    await drain(server, grace=0.0, deadline=0.4)
    assert 0.39 <= time.monotonic() - began < 2.0
    assert server.told[1:] == [*ORDER[: ORDER.index(what) + 1], "stop"]


@pytest.mark.parametrize("what", ["stop_listening", "send_away"])
async def test_a_failure_ends_the_process_all_the_same(server: Server, what: str) -> None:
    server.fails = what
    await drain(server, grace=0.0, deadline=5.0)
    assert server.told[1:] == [*ORDER[: ORDER.index(what) + 1], "stop"]


@pytest.mark.parametrize("how", ["fails", "hangs"])
async def test_a_receiver_that_goes_wrong_holds_nobody_up(
    server: Server, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "RELEASE_WITHIN", 0.1)
    setattr(server, how, "on_drain")
    await drain(server, grace=0.0, deadline=5.0)
    assert server.told == ["alarm 7", *ORDER]


async def test_the_end_is_told_once_and_only_of_what_has_left(server: Server) -> None:
    """Under another server its own end follows the drain."""
    await end()
    assert server.told == []
    await drain(server, grace=0.0, deadline=5.0)
    await end()
    assert server.told == ["alarm 7", *ORDER]
