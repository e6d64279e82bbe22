"""What is read of a publication's body: its tags and its key, whatever its data looks like."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.realtime.protocol.bodies import MAX_KEY, binary, key_of, require_key, tags_of, visible, without_key
from flotilla.realtime.protocol.codes import CommandError
from flotilla.realtime.protocol.encodings import JSON
from flotilla.realtime.protocol.protobuf.encoding import PROTOBUF
from flotilla.realtime.protocol.replies import publication_body

values = st.recursive(
    st.none() | st.integers(-9, 9) | st.text(alphabet='ab",\\:{}key\u00e9', max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "key"]), inner, max_size=3),
    max_leaves=6,
)
texts = st.text(alphabet='ab",\\:{}key\u00e9', max_size=12)


@given(values, st.none() | st.dictionaries(st.sampled_from(["a", "key"]), texts), texts, st.booleans())
def test_a_body_is_read_as_it_was_written(data: Any, tags: dict[str, str] | None, key: str, authored: bool) -> None:
    info = b'{"user":"u","key":"x"}' if authored else None
    encoded = msgspec.json.encode(data)
    body = publication_body(encoded, info, tags, key)
    plain = publication_body(encoded, info, tags)
    assert msgspec.json.decode(body).get("key", "") == key
    assert tags_of(body) == (tags or {})
    assert key_of(body) == (msgspec.json.encode(key) if key else b"")
    assert without_key(body) == plain == without_key(plain)
    assert key_of(plain) == b""


def test_tags_with_half_a_character_are_read() -> None:
    assert tags_of(publication_body(b"1", None, {"a": "\ud83d"})) == {"a": "\ud83d"}
    assert tags_of(b'{"data":"\\ud83d","tags":{"a":"b"}}') == {"a": "b"}


@pytest.mark.parametrize("key", ["\ud83d", "x" * (MAX_KEY + 1), "\u00e9" * 128])
def test_a_key_that_cannot_be_used(key: str) -> None:
    with pytest.raises(CommandError):
        require_key(key)


def test_a_key_may_be_as_long_as_said() -> None:
    require_key("x" * MAX_KEY)


def test_no_client_sees_a_key() -> None:
    """Whatever else is said of the publication, and in whatever encoding."""
    data, info, tags = b'{"key":"mine"}', b'{"user":"u","client":"c"}', {"a": "b"}
    for body, plain in (
        (publication_body(data, info, tags, "k1"), publication_body(data, info, tags)),
        (binary(b"\xff", info, tags, "k1"), binary(b"\xff", info, tags)),
    ):
        assert key_of(body) == b'"k1"' and visible(body) == plain
        for encoding in (JSON, PROTOBUF):
            name = encoding.channel("c")
            assert encoding.publication(name, body, 1) == encoding.publication(name, plain, 1)
            kept = [{"publications": [encoding.stored(one, 1)], "epoch": "e", "offset": 1} for one in (body, plain)]
            assert encoding.reply(1, "history", kept[0]) == encoding.reply(1, "history", kept[1])
    body, without = publication_body(data, info, tags, "k1"), publication_body(data, info, tags)
    for encoding in (JSON, PROTOBUF):
        name = encoding.channel("c")
        for told in (encoding.whole, lambda one, encoding=encoding: encoding.changed(one, b"delta")):
            assert encoding.publication(name, told(body), 1) == encoding.publication(name, told(without), 1)
