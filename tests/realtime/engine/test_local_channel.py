"""Local subscribers: whatever the interleaving, each sees what lies above its own offset, once, in order."""

import json
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.engine.local_channel import Flow, LocalChannel
from flotilla.realtime.engine.publication import Publication, StreamPosition
from flotilla.realtime.engine.subscription import MAX_HELD, Subscription
from flotilla.realtime.protocol.frames import Frame

HISTORY = ChannelOptions(history_size=10, history_ttl=60)
NO_HISTORY = ChannelOptions()


class Recorder:
    """A subscriber and its socket."""

    def __init__(self) -> None:
        self.socket = self
        self.frames: list[Frame] = []
        self.lost: list[Subscription] = []
        self.descriptor = -1
        self.waiting = 0
        self.busy = False

    def too_slow(self) -> None:
        raise AssertionError("nobody is slow here")

    def send(self, frame: Frame) -> None:
        self.frames.append(frame)

    def lose_position(self, subscription: Subscription) -> None:
        self.lost.append(subscription)

    @property
    def pushes(self) -> list[dict[str, object]]:
        return [json.loads(line)["push"] for frame in self.frames for line in frame.payload.split(b"\n")]

    @property
    def offsets(self) -> list[int]:
        return [push["pub"].get("offset", 0) for push in self.pushes]  # type: ignore[attr-defined]


def channel_at(offset: int, options: ChannelOptions = HISTORY) -> LocalChannel:
    channel = LocalChannel("room", options)
    channel.flow, channel.position = Flow.LIVE, StreamPosition("e", offset)
    return channel


def subscription(name: str = "room", **options: bool) -> tuple[Subscription, Recorder]:
    recorder = Recorder()
    return Subscription(recorder, name, **options), recorder


def publication(offset: int) -> Publication:
    return Publication(offset, b'{"data":%d}' % offset)


@dataclass
class Follower:
    subscription: Subscription
    recorder: Recorder
    start: int | None = None
    left_at: int | None = None


@given(st.data(), st.lists(st.sampled_from(["deliver", "flush", "add", "release", "remove"]), max_size=60))
def test_each_subscriber_sees_what_lies_above_its_own_offset(data: st.DataObject, steps: list[str]) -> None:
    """For any interleaving: no gap, no repeat, in order; an offset ahead of the channel is waited for."""
    channel = channel_at(5)
    followers: list[Follower] = []
    for step in steps:
        top = channel.position.offset
        if step == "deliver":
            channel.deliver(publication(top + 1))
        elif step == "flush":
            channel.flush()
        elif step == "add":
            follower = Follower(*subscription())
            followers.append(follower)
            follower.added_at = top  # type: ignore[attr-defined]
            channel.add(follower.subscription)
        elif step == "release":
            waiting = [f for f in followers if f.start is None and f.left_at is None]
            if waiting:
                follower = data.draw(st.sampled_from(waiting))
                added_at: int = follower.added_at  # type: ignore[attr-defined]
                follower.start = data.draw(st.integers(added_at, top + 3))
                channel.release(follower.subscription, follower.start)
        else:
            there = [f for f in followers if f.left_at is None]
            if there:
                follower = data.draw(st.sampled_from(there))
                follower.left_at = top
                channel.remove(follower.subscription, now=1.0)
    channel.flush()
    for follower in followers:
        end = channel.position.offset if follower.left_at is None else follower.left_at
        expected = [] if follower.start is None else list(range(follower.start + 1, end + 1))
        assert follower.recorder.offsets == expected
    present = [f for f in followers if f.left_at is None]
    assert set(channel.subscriptions) == {f.subscription for f in present}
    if followers:
        assert (channel.idle_since is None) is bool(present)
    caught_up = [f for f in present if f.start is not None and f.start < channel.position.offset]
    assert not channel.joining & {f.subscription for f in caught_up}


def test_everybody_gets_the_same_bytes() -> None:
    """The frame is built once for all sockets."""
    channel = channel_at(0)
    recorders = []
    for _ in range(3):
        one, recorder = subscription()
        recorders.append(recorder)
        channel.add(one)
        channel.release(one, 0)
    channel.deliver(publication(1))
    assert recorders[0].frames == []
    assert channel.flush() == 3
    assert len({id(recorder.frames[0]) for recorder in recorders}) == 1
    assert recorders[0].pushes == [{"channel": "room", "pub": {"data": 1, "offset": 1}}]


def test_what_comes_together_leaves_as_one_message() -> None:
    """In order; what `deliver` returns tells how much waits, and every publication to everybody is counted."""
    channel = channel_at(0)
    recorders = []
    for _ in range(2):
        one, recorder = subscription()
        recorders.append(recorder)
        channel.add(one)
        channel.release(one, 0)
    waiting = [channel.deliver(publication(offset)) for offset in range(1, 4)]
    assert waiting == sorted(set(waiting)) and waiting[0] > 0
    assert channel.flush() == 6
    assert channel.flush() == 0
    for recorder in recorders:
        assert len(recorder.frames) == 1
        assert abs(len(recorder.frames[0].payload) - waiting[-1]) < 40, "about as much as was said to wait"
        assert recorder.offsets == [1, 2, 3]


def test_whoever_leaves_or_announces_does_not_overtake_what_was_delivered() -> None:
    """A subscriber that leaves still has what came before; a join comes behind it."""
    channel = channel_at(0)
    leaving, recorder = subscription(join_leave=True)
    channel.add(leaving)
    channel.release(leaving, 0)
    channel.deliver(publication(1))
    channel.announce(b"join", b'{"user":"u","client":"c"}')
    channel.deliver(publication(2))
    channel.remove(leaving, 1.0)
    channel.deliver(publication(3))
    channel.flush()
    assert ["join" if "join" in push else push["pub"]["offset"] for push in recorder.pushes] == [1, "join", 2]  # type: ignore[index]


def test_a_channel_without_history_delivers_everything_that_comes() -> None:
    """Publications without an offset are held and released like others, and move no position."""
    channel = channel_at(0, NO_HISTORY)
    one, recorder = subscription()
    channel.add(one)
    channel.deliver(publication(0))
    assert recorder.frames == []
    channel.release(one, 0)
    channel.deliver(publication(0))
    channel.flush()
    assert recorder.offsets == [0, 0]
    assert not channel.joining
    assert channel.position.offset == 0


def test_joins_and_leaves_reach_those_who_asked() -> None:
    """Held back before the reply, in their place among publications."""
    channel = channel_at(0)
    asked, asking = subscription(join_leave=True)
    _, deaf = other = subscription()
    late, lately = subscription(join_leave=True)
    for one in (asked, other[0]):
        channel.add(one)
        channel.release(one, 0)
    channel.add(late)
    channel.deliver(publication(1))
    channel.announce(b"join", b'{"user":"u","client":"c"}')
    assert lately.frames == []
    channel.deliver(publication(2))
    channel.flush()
    channel.release(late, 0)
    kinds = [next(key for key in push if key != "channel") for push in lately.pushes]
    assert kinds == ["pub", "join", "pub"]
    assert [next(key for key in push if key != "channel") for push in asking.pushes] == ["pub", "join", "pub"]
    assert deaf.offsets == [1, 2]
    assert lately.pushes[1] == {"channel": "room", "join": {"info": {"user": "u", "client": "c"}}}


def test_what_is_held_back_is_bounded() -> None:
    """Too much of it breaks the subscription instead of growing the process."""
    channel = channel_at(0)
    one, _ = subscription()
    channel.add(one)
    for offset in range(1, MAX_HELD + 1):
        channel.deliver(publication(offset))
    assert not one.broken
    channel.deliver(publication(MAX_HELD + 1))
    assert one.broken
    assert one.held is not None
    assert len(one.held) == MAX_HELD


def test_names_are_escaped_in_frames() -> None:
    """A channel's name may hold quotes."""
    channel = LocalChannel('a"b', NO_HISTORY)
    one, recorder = subscription('a"b')
    channel.add(one)
    channel.release(one, 0)
    channel.deliver(publication(1))
    channel.flush()
    assert [push["channel"] for push in recorder.pushes] == ['a"b']


@pytest.mark.parametrize("options", [HISTORY, NO_HISTORY])
def test_leaving_twice_is_no_error(options: ChannelOptions) -> None:
    """Idle since the last one left."""
    channel = channel_at(0, options)
    one, _ = subscription()
    channel.add(one)
    channel.remove(one, 3.0)
    channel.remove(one, 4.0)
    assert channel.idle_since == 4.0
    assert channel.subscriptions == []
