"""Layer messages: msgpack maps whose last value Redis may add, payloads byte for byte."""

import msgpack
from hypothesis import given
from hypothesis import strategies as st

from flotilla.realtime.engine import envelope

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


def unpack(message: bytes) -> dict[str, object]:
    found: dict[str, object] = msgpack.unpackb(message)
    return found


@given(TEXT, st.binary(max_size=70000), TEXT, st.integers(0, 2**63 - 1))
def test_a_head_is_completed_by_epoch_offset_and_time(channel: str, body: bytes, epoch: str, offset: int) -> None:
    """The head plus what a script knows is one whole map."""
    tail = msgpack.packb(epoch) + b"\xa1o" + msgpack.packb(offset)
    stamp = b"\xa1t" + msgpack.packb(1_800_000_000_123_456) + b"\xa1n" + msgpack.packb(7)
    head = envelope.publication_head(channel) + envelope.bin_head(len(body)) + body
    message = unpack(head + b"\xa1e" + tail + stamp)
    assert message.pop("n") == 7
    assert message == {"type": "pub", "c": channel, "d": body, "e": epoch, "o": offset, "t": 1_800_000_000_123_456}
    live = unpack(envelope.live_head(channel, "nonce") + tail)
    assert live == {"type": "live", "c": channel, "n": "nonce", "e": epoch, "o": offset}


@given(TEXT, st.binary(max_size=300), TEXT)
def test_a_trace_is_a_key_more_which_who_does_not_know_it_leaves(channel: str, body: bytes, header: str) -> None:
    """All else is as without: an instance of the release before reads the same publication."""
    rest = envelope.bin_head(len(body)) + body + b"\xa1e\xa1e\xa1o\x01\xa1t\x02\xa1n\x03"
    traced = unpack(envelope.publication_head(channel, {"traceparent": header}) + rest)
    assert traced.pop(envelope.TRACE) == {"traceparent": header}
    assert traced == unpack(envelope.publication_head(channel) + rest)


@given(TEXT, st.binary(max_size=300))
def test_a_join_is_completed_by_its_info(channel: str, info: bytes) -> None:
    """As msgpack bin."""
    message = unpack(envelope.presence_head(envelope.JOIN, channel) + msgpack.packb(info))
    assert message == {"type": "join", "c": channel, "d": info}


def test_beats_and_control_are_whole() -> None:
    """Nothing is to be added."""
    assert unpack(envelope.beat(2, 70000)) == {"type": "beat", "n": 2, "o": 70000}
    assert unpack(envelope.control(b'{"op":"x"}')) == {"type": "control", "d": b'{"op":"x"}'}
