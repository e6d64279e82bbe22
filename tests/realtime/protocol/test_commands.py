"""Parsing what clients send: strict about types, blind to unknown keys, payloads byte for byte."""

import json
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from flotilla.realtime.protocol.codes import CommandError, DisconnectCode, DisconnectError, ErrorCode
from flotilla.realtime.protocol.commands import Command, decoded, parse, parse_with_effort

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
        '{"id":1,"subscribe":{"channel":"c","offset":18446744073709551616}}',
        '{"id":1,"history":{"channel":"c","since":{"offset":1e30}}}',
        '{"id":1,"subscribe":{"channel":"c","offset":1.5}}',
        '{"id":1,"subscribe":{"channel":"c","recover":"true"}}',
        '{"id":1,"publish":{"channel":"c","data":"\\ud83"}}',
        '{"id":1,"publish":{"channel":"c","data":"\\ud83d}}',
        '{"id":1,"publish":{"channel":"c\\ud83d","data":nope}}',
        '{"id":1,"subscribe":{"channel":"c","recover":1}}',
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


HALF = "\\ud83d"  # as it is written: what JavaScript makes of a cut emoji


@pytest.mark.parametrize(
    "data", [f'"{HALF}"', f'{{ "a{HALF}" : ["\\uDE00", "\\ud83d\\ude00", "\\\\ud83d", "\\\\{HALF}\\n", 1.0, null] }}']
)
@pytest.mark.parametrize("as_bytes", [False, True])
def test_half_a_surrogate_pair_in_a_payload_keeps_its_bytes(data: str, as_bytes: bool) -> None:
    """It is valid JSON; other commands of the message are not touched by it."""
    lines = ['{"id":1,"rpc":{"method":"m","data":%s}}'.replace("%s", data), '{"id":2,"presence":{"channel":"c"}}']
    lines += [
        '{"send":{"data":%s}}'.replace("%s", data),
        '{"id":3,"subscribe":{"channel":"c","data":%s}}'.replace("%s", data),
    ]
    message = "\n".join(lines)
    rpc, presence, send, subscribe = parse(message.encode() if as_bytes else message)
    assert all(command.fits for command in (rpc, presence, send, subscribe))
    assert rpc.rpc and send.send and subscribe.subscribe
    for request in (rpc.rpc, send.send, subscribe.subscribe):
        assert bytes(request.data) == data.encode()


@given(st.text(alphabet='\\ud83eDE0"', max_size=40), st.integers(0xD800, 0xDFFF))
def test_whatever_stands_around_a_half_it_comes_through(text: str, half: int) -> None:
    """Escaped backslashes, quotes and whole pairs do not lead the search astray."""
    data = json.dumps(text)[:-1] + f"\\u{half:04X}" + json.dumps(text)[1:]
    (command,) = parse('{"id":1,"publish":{"channel":"c","data":%s}}'.replace("%s", data))
    assert command.publish is not None
    assert bytes(command.publish.data) == data.encode()


@pytest.mark.parametrize(
    "request_",
    [
        '"publish":{"channel":"a%s","data":1}',
        '"subscribe":{"channel":"a","token":"%s"}',
        '"subscribe":{"channel":"a","epoch":"%s","recover":true}',
        '"rpc":{"method":"%s"}',
        '"connect":{"name":"%s"}',
        '"connect":{"subs":{"%s":{}}}',
        '"connect":{"headers":{"a":"%s"}}',
        '"history":{"channel":"a","since":{"epoch":"%s"}}',
    ],
)
def test_half_a_surrogate_pair_in_a_name_is_that_command_s_fault(request_: str) -> None:
    """It is known which command it is, and that it does not fit."""
    found = parse('{"id":7,' + request_ % HALF + "}\n{}")
    assert [command.fits for command in found] == [False, True]
    assert (found[0].id, found[0].method) == (7, request_.split('"')[1])


def test_half_a_surrogate_pair_under_an_unknown_key_is_passed_over() -> None:
    (command,) = parse('{"id":1,"x%s":"%s","presence":{"channel":"a","y":"%s"}}'.replace("%s", HALF))
    assert command.fits


TYPES: dict[str, Any] = {
    name: field.type for field in msgspec.structs.fields(Command) if (name := field.name) not in ("id", "ping")
}
MEMBERS = [
    (method, field.name)
    for method, kind in TYPES.items()
    for field in msgspec.structs.fields(next(one for one in get_args(kind) if one is not type(None)))
]


@pytest.mark.parametrize(("method", "member"), MEMBERS)
def test_a_null_is_an_absent_member(method: str, member: str) -> None:
    """Of every command; but in payloads it is a value."""
    (nothing,) = parse(json.dumps({"id": 1, method: {}}))
    (null,) = parse(json.dumps({"id": 1, method: {member: None}}))
    if member == "data":
        assert bytes(getattr(null, method).data) == b"null"
        setattr(getattr(null, method), member, getattr(getattr(nothing, method), member))
    elif member == "tf":
        assert not null.subscribe.filtered  # type: ignore[union-attr]
        return
    assert null == nothing


@pytest.mark.parametrize("method", METHODS)
def test_a_null_request_is_an_absent_one(method: str) -> None:
    (command,) = parse(json.dumps({"id": 1, method: None}))
    assert command.method == ""
    assert not command.is_pong


def test_a_null_is_absent_further_down_too() -> None:
    """In positions, in server-side subscriptions, among headers, and as the id."""
    (connect,) = parse(
        '{"id":1,"connect":{"token":null,"headers":{"a":null,"b":"c"},'
        '"subs":{"x":null,"y":{"recover":true,"offset":null,"epoch":null}}}}'
    )
    assert connect.connect is not None
    assert connect.connect.headers == {"b": "c"}
    assert not connect.connect.subs["x"].recover
    assert connect.connect.subs["y"].recover
    (history,) = parse('{"id":1,"history":{"channel":"c","limit":null,"since":{"offset":3,"epoch":null}}}')
    assert history.history is not None
    assert history.history.since is not None
    assert (history.history.since.offset, history.history.since.epoch) == (3, "")
    (pong,) = parse('{"id":null}')
    assert pong.is_pong


@pytest.mark.parametrize("written", ["7.0", "7e0", "0.7E+1", "70e-1", "7"])
def test_a_whole_number_is_one_however_it_is_written(written: str) -> None:
    (command,) = parse('{"id":%s,"history":{"channel":"c","limit":%s,"since":{"offset":%s}}}'.replace("%s", written))
    assert command.history is not None
    assert command.history.since is not None
    assert (command.id, command.history.limit, command.history.since.offset) == (7, 7, 7)


@pytest.mark.parametrize("offset", [2**63 - 1, 2**63, 2**64 - 1])
def test_an_offset_of_the_protocol_s_64_bits_is_one_that_no_stream_has(offset: int) -> None:
    """It is as far ahead as we can count, and no reason to end anything."""
    (command,) = parse('{"id":1,"subscribe":{"channel":"c","recover":true,"offset":%d}}'.replace("%d", str(offset)))
    assert command.subscribe is not None
    assert command.subscribe.offset == 2**63 - 1


def test_of_members_that_come_twice_the_last_counts() -> None:
    for id_ in ("1", "1.0"):
        (command,) = parse('{"id":%s,"publish":{"channel":"a","channel":"b","data":1,"data":null}}'.replace("%s", id_))
        assert command.publish is not None
        assert command.publish.channel == "b"
        assert bytes(command.publish.data) == b"null"


@pytest.mark.parametrize("data", ["[" * 3000 + "]" * 3000, '{"a":[' * 9000 + "0" + "]}" * 9000])
def test_a_payload_nested_beyond_measure_is_that_command_s_fault(data: str) -> None:
    """It is valid JSON, and what stands beside it is not lost with it."""
    request = '"publish":{"channel":"c","data":' + data + "}"
    deep, after, unknown = parse('{"id":1,' + request + '}\n{"id":2}\n{"id":3,"x":' + data + ',"rpc":{"data":"[["}}')
    assert [deep.fits, after.fits, unknown.fits] == [False, True, True]
    assert (deep.id, deep.method) == (1, "publish")
    (both,) = parse('{"id":null,"x":"\\ud83d",' + request + "}")
    assert not both.fits
    assert unknown.rpc is not None
    assert bytes(unknown.rpc.data) == b'"[["'


def test_what_takes_effort_to_read_is_told() -> None:
    deep = '{"id":1,"rpc":{"data":' + "[" * 3000 + "]" * 3000 + "}}"
    half = '{"id":2,"rpc":{"data":"\\ud83d"}}'
    assert parse_with_effort('{"id":1,"rpc":{"data":[[1]]}}\n{}')[1] == 0
    assert parse_with_effort(deep)[1] == len(deep)
    assert parse_with_effort(f"{half}\n{{}}\n{deep}")[1] == len(half) + len(deep)


@pytest.mark.parametrize("nested", ["[" * 100_000, '{"a":' * 100_000])
def test_deep_nesting_ends_the_connection(nested: str) -> None:
    """Also inside a payload."""
    for message in (nested, '{"id":1,"publish":{"channel":"c","data":' + nested):
        with pytest.raises(DisconnectError):
            parse(message)


@given(
    st.binary()
    | st.text()
    | JSON_VALUES.map(json.dumps)
    | st.text(alphabet='{}[]",:\\ud83eE.01null').map(lambda text: '{"id":1,"connect":' + text + "}")
)
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
