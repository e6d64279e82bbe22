"""What the server sends: one JSON object each, compact, payload bytes untouched."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from flotilla.realtime.protocol import replies
from flotilla.realtime.protocol.codes import CommandError, ErrorCode
from flotilla.realtime.protocol.commands import parse
from flotilla.realtime.protocol.encodings import JSON
from tests.realtime.protocol.test_commands import JSON_VALUES

NAMES = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.integers(1, 2**32 - 1), st.dictionaries(st.text(), JSON_VALUES, max_size=4))
def test_a_reply_echoes_id_and_method(id: int, result: dict[str, Any]) -> None:
    """And has its result, on one line."""
    line = replies.reply(id, "rpc", result)
    assert json.loads(line) == {"id": id, "rpc": result}
    assert b"\n" not in line


def test_an_empty_result_is_still_there() -> None:
    """The key tells the client which command was answered."""
    assert replies.reply(3, "unsubscribe") == b'{"id":3,"unsubscribe":{}}'
    assert replies.reply(3, "history", b'{"a":1}') == b'{"id":3,"history":{"a":1}}'


def test_an_error_says_when_it_is_temporary() -> None:
    """And only then."""
    temporary = json.loads(replies.error(5, CommandError(ErrorCode.INTERNAL)))
    assert temporary == {"id": 5, "error": {"code": 100, "message": "internal server error", "temporary": True}}
    final = json.loads(replies.error(5, CommandError(1999, 'say "no"\n')))
    assert final == {"id": 5, "error": {"code": 1999, "message": 'say "no"\n'}}


@given(NAMES, NAMES)
def test_pushes_carry_any_channel_name(channel: str, reason: str) -> None:
    """Quotes, newlines and unicode in names do not break the line."""
    line = JSON.push(channel, "unsubscribe", {"code": 2500, "reason": reason})
    assert b"\n" not in line
    assert json.loads(line) == {"push": {"channel": channel, "unsubscribe": {"code": 2500, "reason": reason}}}
    assert json.loads(replies.disconnect_push(3001, reason)) == {
        "push": {"disconnect": {"code": 3001, "reason": reason}}
    }


@given(JSON_VALUES, st.dictionaries(NAMES, NAMES, max_size=3), st.integers(0, 2**63 - 1))
def test_a_publication_is_what_was_published(value: Any, tags: dict[str, str], offset: int) -> None:
    """From a command's payload to a push: the bytes of `data` are there, info and tags where given, no zero offset."""
    data = json.dumps(value)
    (command,) = parse('{"id":1,"publish":{"channel":"c","data":' + data + "}}")
    assert command.publish is not None
    info = replies.client_info("ann", "id", b'{"name":"A"}', None)
    body = replies.publication_body(bytes(command.publish.data), info, tags)
    line = replies.push(replies.encode("c"), b"pub", replies.with_offset(body, offset))
    assert data.encode() in line
    expected: dict[str, Any] = {
        "data": value,
        "info": {"user": "ann", "client": "id", "conn_info": {"name": "A"}},
        **({"tags": tags} if tags else {}),
        **({"offset": offset} if offset else {}),
    }
    assert json.loads(line) == {"push": {"channel": "c", "pub": expected}}


def test_client_info_has_what_there_is() -> None:
    """An anonymous client still has both fields; info is passed on unparsed."""
    assert replies.client_info("", "id", None, None) == b'{"user":"","client":"id"}'
    assert replies.client_info("u", "c", b"[ 1 ]", b"2") == b'{"user":"u","client":"c","conn_info":[ 1 ],"chan_info":2}'


def test_compact_leaves_out_what_says_nothing() -> None:
    """Zero values are absent in the protocol; raw JSON always says something."""
    found = replies.compact(a=0, b="", c=None, d=False, e=[], f={}, g=1, h="x", i=Raw(b"0"))
    assert list(found) == ["g", "h", "i"]
    assert replies.PING == b"{}"


def test_a_publication_too_deep_for_some_clients_is_a_bad_request() -> None:
    """It would end everybody's connection who parses it recursively."""
    with pytest.raises(CommandError) as refused:
        replies.publication_body(b"[" * 257 + b"]" * 257)
    assert refused.value.code == 107
