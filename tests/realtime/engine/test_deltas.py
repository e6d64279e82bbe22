"""Subscriptions with deltas: whatever the interleaving, what a client makes of its pushes is what was published."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.engine.deltas import Chains
from flotilla.realtime.engine.local_channel import Flow, LocalChannel
from flotilla.realtime.engine.publication import Publication, StreamPosition, stored
from flotilla.realtime.engine.subscription import Subscription
from flotilla.realtime.engine.view import Deltas, View
from flotilla.realtime.protocol import bodies as bodies_of_publications
from flotilla.realtime.protocol.encodings import JSON
from flotilla.realtime.protocol.formats import WEBSOCKET_JSON, WEBSOCKET_PROTOBUF
from flotilla.realtime.protocol.fossil import apply_delta
from flotilla.realtime.protocol.frames import Frame
from flotilla.realtime.protocol.protobuf.encoding import PROTOBUF
from flotilla.realtime.protocol.protobuf.schema import CLASSES

ALWAYS = ChannelOptions(history_size=100, history_ttl=60, allowed_delta_types=("fossil",), delta_publish=True)
ON_REQUEST = ChannelOptions(history_size=100, history_ttl=60, allowed_delta_types=("fossil",))
TEXT = "all this is the same in every publication, and long enough"


class Applier:
    """A subscriber that reads pushes as the SDKs do: a payload is a text, a delta is applied to the one before."""

    def __init__(self, deltas: Deltas = Deltas.FIRST) -> None:
        self.socket = self
        self.descriptor = -1
        self.waiting = 0
        self.busy = False
        self.frames: list[Frame] = []
        self.subscription = Subscription(self, "room", view=View(deltas=deltas))
        self.payload = b""
        self.numbers: list[int] = []
        self.kinds = ""  # w for a whole publication, d for a delta

    def too_slow(self) -> None:
        raise AssertionError("nobody is slow here")

    def lose_position(self, subscription: Subscription) -> None:
        raise AssertionError("nothing is lost here")

    def send(self, frame: Frame) -> None:
        self.frames.append(frame)
        for line in frame.payload.split(b"\n"):
            pub = json.loads(line)["push"]["pub"]
            if not self.subscription.view.deltas:
                assert "delta" not in pub
                self.numbers.append(pub["data"]["n"])
                continue
            data = pub["data"].encode()
            self.payload = apply_delta(self.payload, data) if pub.get("delta") else data
            self.kinds += "d" if pub.get("delta") else "w"
            self.numbers.append(json.loads(self.payload)["n"])


class Fed:
    """A feed that keeps what it is offered."""

    def __init__(self, covered: int) -> None:
        self.covered = covered
        self.pending: list[Publication] = []

    def offer(self, publication: Publication) -> None:
        self.pending.append(publication)
        self.covered = publication.offset


def publication(number: int, offset: int | None = None, *, delta: bool = False) -> Publication:
    body = json.dumps({"data": {"text": TEXT, "n": number}}).replace('{"data": ', '{"data":').encode()
    return Publication(number if offset is None else offset, body, delta)


def channel_with(*appliers: Applier, options: ChannelOptions = ALWAYS) -> LocalChannel:
    channel = LocalChannel("room", options)
    channel.flow, channel.position = Flow.LIVE, StreamPosition("e", 0)
    for one in appliers:
        join(channel, one)
    return channel


def join(channel: LocalChannel, one: Applier) -> None:
    channel.add(one.subscription)
    channel.release(one.subscription, channel.position.offset)


def publish(channel: LocalChannel, *numbers: int) -> None:
    for number in numbers:
        channel.deliver(publication(number))
    channel.flush()


class Pair:
    """Two subscriptions to which the same happens, with deltas and without."""

    def __init__(self) -> None:
        self.both = (Applier(), Applier(Deltas.OFF))
        self.feeds: tuple[Fed, ...] = ()


STEPS = ("deliver", "deliver", "deliver", "unkept", "flush", "add", "release", "remove", "detach", "feed", "attach")


@settings(max_examples=300, deadline=None)
@given(data=st.data(), steps=st.lists(st.sampled_from(STEPS), min_size=30, max_size=120))
def test_with_deltas_a_client_has_what_it_has_without(data: st.DataObject, steps: Sequence[str]) -> None:
    """Newcomers, those ahead of the channel, those that are fed apart, publications without a position between."""
    channel = channel_with()
    added: list[Pair] = []
    there: list[Pair] = []
    pairs: list[Pair] = []
    for number, step in enumerate(steps):
        at = channel.position.offset
        if step in ("deliver", "unkept"):
            channel.deliver(publication(number, at + 1 if step == "deliver" else 0))
        elif step == "flush":
            channel.flush()
        elif step == "add" and len(pairs) < 5:
            pairs.append(pair := Pair())
            added.append(pair)
            for one in pair.both:
                channel.add(one.subscription)
        elif step == "release" and added:
            there.append(pair := added.pop(data.draw(st.integers(0, len(added) - 1))))
            ahead = data.draw(st.integers(0, 2))
            for one in pair.both:
                channel.release(one.subscription, at + ahead)
        elif step == "remove" and there:
            pair = there.pop(data.draw(st.integers(0, len(there) - 1)))
            for one in pair.both:
                channel.remove(one.subscription, now=1.0)
        elif step == "detach" and (free := [pair for pair in there if not pair.feeds]):
            pair = data.draw(st.sampled_from(free))
            pair.feeds = tuple(Fed(max(at, one.subscription.floor)) for one in pair.both)
            for one, feed in zip(pair.both, pair.feeds, strict=True):
                channel.detach(one.subscription, feed)
        elif step in ("feed", "attach") and (slow := [pair for pair in there if pair.feeds]):
            pair = data.draw(st.sampled_from(slow))
            for one, feed in zip(pair.both, pair.feeds, strict=True):
                if feed.pending:
                    channel.followers.give(one.subscription, feed.pending)
                    feed.pending = []
                if step == "attach":
                    channel.attach(one.subscription, feed.covered)
            pair.feeds = pair.feeds if step == "feed" else ()
    channel.flush()
    for pair in pairs:
        with_deltas, without = pair.both
        assert with_deltas.numbers == without.numbers


def test_what_follows_a_whole_publication_are_deltas() -> None:
    one, plain = Applier(), Applier(Deltas.OFF)
    channel = channel_with(one, plain)
    for number in range(1, 5):
        publish(channel, number)
    assert one.numbers == plain.numbers == [1, 2, 3, 4]
    assert one.kinds == "wddd"
    assert max(len(frame.wire) for frame in one.frames[1:]) < len(plain.frames[1].wire)


def test_what_comes_together_is_a_chain() -> None:
    """For a newcomer and for one that has been there: one is whole, at most."""
    old, new = Applier(), Applier()
    channel = channel_with(old)
    publish(channel, 1)
    join(channel, new)
    publish(channel, 2, 3, 4)
    publish(channel, 5)
    assert old.numbers == [1, 2, 3, 4, 5] and old.kinds == "wdddd"
    assert new.numbers == [2, 3, 4, 5] and new.kinds == "wddd"
    assert len(old.frames) == 3


def test_everybody_gets_the_same_bytes_again() -> None:
    """After its first publication a newcomer is no group of its own."""
    appliers = [Applier() for _ in range(3)]
    channel = channel_with(appliers[0])
    for number, one in enumerate(appliers[1:], 1):
        publish(channel, number)
        join(channel, one)
    publish(channel, 3)
    publish(channel, 4)
    assert len({id(one.frames[-1]) for one in appliers}) == 1
    assert list(channel.followers.groups) == [View(deltas=Deltas.NEXT)]


def test_one_that_joins_in_between_breaks_nobodys_chain() -> None:
    """Its reply is not out while others are sent publications, and it is ahead of the channel when it is."""
    old, new = Applier(), Applier()
    channel = channel_with(old)
    publish(channel, 1)
    channel.add(new.subscription)
    publish(channel, 2)
    channel.release(new.subscription, 4)
    channel.deliver(publication(100, 0))  # without a position: for everybody
    publish(channel, 3, 4, 5, 6)
    assert old.numbers == [1, 2, 100, 3, 4, 5, 6] and old.kinds == "wdddddd"
    assert new.numbers == [100, 5, 6] and new.kinds == "wwd"


def test_one_that_was_fed_begins_with_a_whole_one() -> None:
    one, other = Applier(), Applier()
    channel = channel_with(one, other)
    publish(channel, 1)
    feed = Fed(1)
    channel.detach(one.subscription, feed)
    publish(channel, 2, 3)
    channel.followers.give(one.subscription, feed.pending)
    channel.attach(one.subscription, feed.covered)
    publish(channel, 4)
    publish(channel, 5)
    assert one.numbers == other.numbers == [1, 2, 3, 4, 5]
    assert one.kinds == "wwwwd" and other.kinds == "wdddd"


def test_only_publications_that_ask_for_it_are_deltas() -> None:
    """The others are whole, and the next delta is against them."""
    one = Applier()
    channel = channel_with(one, options=ON_REQUEST)
    for number, delta in enumerate((False, False, True, False, True, True), 1):
        channel.deliver(publication(number, delta=delta))
    channel.flush()
    assert one.numbers == [1, 2, 3, 4, 5, 6] and one.kinds == "wwdwdd"


def test_nothing_is_kept_when_nobody_has_deltas() -> None:
    one, plain = Applier(), Applier(Deltas.OFF)
    channel = channel_with(one, plain)
    publish(channel, 1)
    channel.remove(one.subscription, now=1.0)
    publish(channel, 2)
    assert not channel.followers._chains._newest
    join(channel, again := Applier())
    publish(channel, 3)
    assert again.kinds == "w"


@pytest.mark.parametrize("delta", [True, False])
def test_redis_is_told_which_publications_ask_for_deltas(delta: bool) -> None:
    body = b'{"data":{"delta":true}}'
    assert Publication.read(5, stored(body, delta=delta)) == Publication(5, body, delta)


def test_each_encoding_has_a_chain_of_its_own() -> None:
    """Protobuf clients keep the bytes that were published, which JSON clients are not sent."""
    views = [View(format, Deltas.NEXT) for format in (WEBSOCKET_JSON, WEBSOCKET_PROTOBUF)]
    chains = Chains()
    exact = [b'{"text":"%b",\n"n":%d}' % (TEXT.encode(), number) for number in range(3)]
    bodies = [bodies_of_publications.as_published(data, None) for data in exact]
    before = b""
    for offset, (data, body) in enumerate(zip(exact, bodies, strict=True), 1):
        found = chains.extend(views, [Publication(offset, body)], always=True)
        pub = CLASSES["Reply"].FromString(PROTOBUF.publication(PROTOBUF.channel("a"), *found[PROTOBUF, Deltas.NEXT], 0))
        pub = pub.push.pub
        assert pub.delta is (offset > 1)
        before = apply_delta(before, pub.data) if pub.delta else pub.data
        assert before == data
        assert b"exact" not in JSON.publication(b'"a"', *found[JSON, Deltas.NEXT], 0)


def test_bytes_that_are_no_text_have_deltas() -> None:
    chains, view = Chains(), View(WEBSOCKET_PROTOBUF, Deltas.NEXT)
    first, second = b"\x80\xff" * 50 + b"\x00" + b"\x90" * 50, b"\x80\xff" * 50 + b"\x01" + b"\x90" * 50
    for data in (first, second):
        publications = [Publication(1, bodies_of_publications.binary(data))]
        (body,) = chains.extend([view], publications, always=True)[PROTOBUF, Deltas.NEXT]
    pub = CLASSES["Reply"].FromString(PROTOBUF.publication(PROTOBUF.channel("a"), body, 0)).push.pub
    assert pub.delta and len(pub.data) < 40
    assert apply_delta(first, pub.data) == second
