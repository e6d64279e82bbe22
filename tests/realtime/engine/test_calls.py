"""Calls as values."""

from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.engine import calls
from flotilla.realtime.engine.publication import StreamPosition
from flotilla.store import placement_of
from flotilla.store.slots import hash_tag

OPTIONS = ChannelOptions(history_size=10, history_ttl=60, history_meta_ttl=3600)


def test_keys_of_a_call_share_the_channels_tag() -> None:
    """A script touches keys of one tag only, whatever the name and the idempotency key hold."""
    for channel in ("room", "a}b{c", "x" * 255):
        tag = "{" + hash_tag(placement_of(channel).partition_key("")) + "}"
        found = [
            calls.publish(channel, b"{}", OPTIONS, idempotency_key="a}{b"),
            calls.history(channel, OPTIONS),
            calls.confirm(channel, "nonce", OPTIONS),
        ]
        assert all(key.count("{") == 1 and tag in key for call in found for key in call.keys)
        assert calls.forget(channel) == found[0].keys[1]


def test_history_needs_a_size_and_a_time() -> None:
    """One alone keeps nothing."""
    assert calls.keeps_history(OPTIONS)
    assert not calls.keeps_history(ChannelOptions(history_size=10))
    assert not calls.keeps_history(ChannelOptions(history_ttl=10))
    assert calls.publish("room", b"{}", ChannelOptions(history_size=10)).args[3] == 0
    assert calls.publish("room", b"{}", OPTIONS, skip_history=True).args[3] == 0


def test_times_become_whole_milliseconds_of_at_least_one() -> None:
    """Redis takes no fractions, and zero would delete."""
    options = ChannelOptions(history_size=1, history_ttl=0.0001, history_meta_ttl=1.5)
    assert str(calls.publish("room", b"{}", options).args[4]).startswith("1 1500 ")


def test_answers_are_read() -> None:
    """As Redis gives them, in bytes."""
    assert calls.read_publish([b"e", 7, 0, 12]) == (StreamPosition("e", 7), 12)
    page, count = calls.read_history([b"e", 9, 1, 12, b"8", b"body", b"9", b"more"])
    assert count == 12
    assert page.top == StreamPosition("e", 9)
    assert page.overflow
    assert [(one.offset, one.body) for one in page.publications] == [(8, b"body"), (9, b"more")]
