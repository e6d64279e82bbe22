"""What is prepared of a channel's publications changes nothing about them."""

from hypothesis import given
from hypothesis import strategies as st

from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.engine import calls
from flotilla.realtime.engine.broker import MAX_PUBLISHERS, Broker
from flotilla.realtime.engine.publisher import Publisher
from flotilla.store import Store
from flotilla.store.resp import pack

KEPT = ChannelOptions(history_size=10, history_ttl=60, history_meta_ttl=3600)
NOT_KEPT = ChannelOptions()
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300)
BODIES = st.one_of(st.binary(max_size=300), st.sampled_from([b"x" * size for size in (255, 256, 65535, 65536)]))


@given(NAMES, BODIES, st.sampled_from([KEPT, NOT_KEPT]))
def test_what_is_sent_is_the_call_for_any_publication(channel: str, body: bytes, options: ChannelOptions) -> None:
    """Byte for byte."""
    call = calls.publish(channel, body, options)
    publisher = Publisher(Store(["redis://nowhere"]), channel, options, None)
    assert publisher.packed(body) == pack(("EVALSHA", call.script.sha, len(call.keys), *call.keys, *call.args))


def test_a_publisher_is_kept_while_the_options_are_the_same() -> None:
    """Others make another one."""
    broker = Broker(Store(["redis://nowhere"]))
    first = broker.publisher("room", KEPT)
    assert broker.publisher("room", KEPT) is first
    assert broker.publisher("room", NOT_KEPT) is not first


def test_the_oldest_publishers_go() -> None:
    """However many channels clients publish into."""
    broker = Broker(Store(["redis://nowhere"]))
    first = broker.publisher("0", KEPT)
    for number in range(1, MAX_PUBLISHERS):
        broker.publisher(str(number), KEPT)
    assert broker.publisher("0", KEPT) is first
    broker.publisher("one more", KEPT)
    assert len(broker._publishers) == MAX_PUBLISHERS
    assert broker.publisher("0", KEPT) is not first
