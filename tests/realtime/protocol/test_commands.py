"""Parsing what clients send: strict about types, blind to unknown keys, payloads byte for byte."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from realtime.protocol.codes import CommandError, DisconnectCode, DisconnectError, ErrorCode
from realtime.protocol.commands import Command, decoded, parse

JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
METHODS = [
    "connect",
    "subscribe",
    "unsubscribe",
    "publish",
    "presence",
    "presence_stats",
    "history",
    "rpc",
    "send",
    "refresh",
    "sub_refresh",
    "ping",
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("as_bytes", [False, True])
def test_every_request_is_known_by_its_name(method: str, as_bytes: bool) -> None:
    """An empty request of each kind is parsed from text and from bytes."""
    message = json.dumps({"id": 7, method: {}})
    (command,) = parse(message.encode() if as_bytes else message)
    assert command.id == 7
    assert command.method == method


@given(JSON_VALUES)
def test_payloads_are_kept_as_they_were_sent(value: Any) -> None:
    """Spaces, escapes, digits: the bytes of `data` are not touched."""
    for data in (json.dumps(value), json.dumps(value, ensure_ascii=False, separators=(" , ", " : "))):
        (command,) = parse('{"id":1,"publish":{"channel":"c","data":' + data + "}}")
        assert command.publish is not None
        assert bytes(command.publish.data) == data.encode()


def test_an_absent_payload_differs_from_null() -> None:
    """`data: null` is a payload."""
    (absent, null) = parse('{"id":1,"publish":{"channel":"c"}}\n{"id":2,"publish":{"channel":"c","data":null}}')
    assert absent.publish is not None
    assert null.publish is not None
    assert bytes(absent.publish.data) == b""
    assert bytes(null.publish.data) == b"null"


@given(st.lists(st.integers(1, 2**32 - 1), min_size=1, max_size=20), st.booleans())
def test_lines_are_commands_in_order(ids: list[int], ends_with_newline: bool) -> None:
    """One message carries any number of commands; one newline may follow the last."""
    message = "\n".join(f'{{"id":{id},"presence":{{"channel":"c"}}}}' for id in ids) + "\n" * ends_with_newline
    assert [command.id for command in parse(message)] == ids


def test_unknown_keys_are_passed_over() -> None:
    """Newer clients may send more than we know."""
    (command,) = parse('{"id":1,"later":{"a":[1]},"subscribe":{"channel":"c","delta":"fossil","x":{}}}')
    assert command.subscribe is not None
    assert command.subscribe.channel == "c"
    assert command.method == "subscribe"


def test_the_first_request_present_counts() -> None:
    """In the protocol's order, whatever the order in the message."""
    (command,) = parse('{"id":1,"publish":{"channel":"c"},"subscribe":{"channel":"c"}}')
    assert command.method == "subscribe"


def test_a_subscribe_request_in_full() -> None:
    """Every field lands where it belongs, and flag 2 asks for error 112."""
    (command,) = parse(
        '{"id":1,"subscribe":{"channel":"c","token":"t","data":{},"positioned":true,"recoverable":true,'
        '"join_leave":true,"recover":true,"epoch":"e","offset":9223372036854775807,"flag":3,"tf":{"a":1},"type":1}}'
    )
    request = command.subscribe
    assert request is not None
    assert (request.channel, request.token, request.epoch, request.offset) == ("c", "t", "e", 2**63 - 1)
    assert request.positioned and request.recoverable and request.join_leave and request.recover
    assert request.reject_unrecovered
    assert request.filtered
    assert request.type == 1
    (plain,) = parse('{"id":1,"subscribe":{"channel":"c","flag":1}}')
    assert plain.subscribe is not None
    assert not plain.subscribe.reject_unrecovered
    assert not plain.subscribe.filtered


def test_a_connect_request_carries_positions() -> None:
    """`subs` are subscribe requests by channel."""
    (command,) = parse('{"id":1,"connect":{"token":"t","subs":{"#u":{"recover":true,"offset":3,"epoch":"e"}}}}')
    assert command.connect is not None
    assert command.connect.subs["#u"].offset == 3


@pytest.mark.parametrize("message", ["{}", '{"id":0}', '{"publish":{"channel":"c"}}'])
def test_what_has_no_id_and_is_no_message_is_a_pong(message: str) -> None:
    """Clients answer a ping with an empty command."""
    (command,) = parse(message)
    assert command.is_pong


def test_a_message_needs_no_id() -> None:
    """`send` is never a pong."""
    (command,) = parse('{"send":{"data":1}}')
    assert not command.is_pong
    assert command.method == "send"


@pytest.mark.parametrize(
    "message",
    [
        "",
        "\n",
        "{",
        "[]",
        "null",
        "1",
        '"x"',
        "{}\n\n{}",
        "{}\n\n",
        "{} {}",
        '{"id":"1"}',
        '{"id":-1}',
        '{"id":4294967296}',
        '{"id":1.5}',
        '{"id":1,"subscribe":{"channel":1}}',
        '{"id":1,"subscribe":[]}',
        '{"id":1,"subscribe":{"channel":"c","offset":-1}}',
        '{"id":1,"subscribe":{"channel":"c","offset":9223372036854775808}}',
        '{"id":1,"subscribe":{"channel":"c","recover":1}}',
        '{"id":1,"connect":{"token":null}}',
        '{"id":1,"connect":{"headers":{"a":1}}}',
        '{"id":1,"history":{"channel":"c","since":{"offset":"1"}}}',
        '{"id":1,"publish":{"channel":"c","data":}}',
        '{"id":1,"publish":{"channel":"\ud800"}}',
        '{"id":1,"publish":{"channel":"a\x00b"}}',
        '{"id":NaN}',
        "\ufeff{}",
    ],
)
def test_what_is_no_command_ends_the_connection(message: str) -> None:
    """With 3501, and never another exception."""
    with pytest.raises(DisconnectError) as caught:
        parse(message)
    assert caught.value.code == DisconnectCode.BAD_REQUEST


@pytest.mark.parametrize("nested", ["[" * 100_000, '{"a":' * 100_000])
def test_deep_nesting_ends_the_connection(nested: str) -> None:
    """Also inside a payload."""
    for message in (nested, '{"id":1,"publish":{"channel":"c","data":' + nested):
        with pytest.raises(DisconnectError):
            parse(message)


@given(st.binary() | st.text() | JSON_VALUES.map(json.dumps))
def test_parse_raises_nothing_else(message: str | bytes) -> None:
    """Whatever comes is commands or 3501."""
    try:
        assert all(isinstance(command, Command) for command in parse(message))
    except DisconnectError as error:
        assert error.code == DisconnectCode.BAD_REQUEST


@pytest.mark.parametrize("data", ["1e400", "-1e999", '"\\ud800"'])
def test_json_that_python_cannot_hold_is_a_bad_request(data: str) -> None:
    """107, wherever a payload is looked into."""
    with pytest.raises(CommandError) as caught:
        decoded(Raw(data.encode()))
    assert caught.value.code == ErrorCode.BAD_REQUEST
