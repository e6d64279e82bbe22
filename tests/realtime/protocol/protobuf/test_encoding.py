"""What clients are sent in Protobuf, beside the library's reading of it."""

from base64 import b64encode
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Raw

from flotilla.realtime.protocol import replies
from flotilla.realtime.protocol.codes import CommandError, ErrorCode
from flotilla.realtime.protocol.protobuf.encoding import PROTOBUF
from flotilla.realtime.protocol.protobuf.schema import CLASSES
from flotilla.realtime.protocol.protobuf.wire import parts

pytestmark = pytest.mark.usefixtures("implementation")
many = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
INFO = replies.client_info("42", "c-1", b'{"name":"Z"}', b"[1]")


def told(payload: bytes) -> Any:
    return CLASSES["Reply"].FromString(payload)


def published(body: bytes, offset: int = 0) -> Any:
    return told(PROTOBUF.publication(PROTOBUF.channel("room:1"), body, offset)).push.pub


@many
@given(st.binary(max_size=300), st.integers(0, 2**63 - 1), st.dictionaries(st.text(), st.text(), max_size=3))
def test_a_publication_has_its_data_byte_for_byte(data: bytes, offset: int, tags: dict[str, str]) -> None:
    body = msgspec.json.encode({"b64data": b64encode(data).decode(), "info": Raw(INFO), "tags": tags})
    found = published(body, offset)
    assert (found.data, found.offset) == (data, offset)
    assert found.info.conn_info == b'{"name":"Z"}'
    assert found.info.chan_info == b"[1]"
    assert dict(found.tags) == {
        key.encode(errors="replace").decode(): value.encode(errors="replace").decode() for key, value in tags.items()
    }


def test_json_is_passed_on_as_it_came() -> None:
    for data in (b'{"a" : 1,  "b":[ ]}', b"null", b'"\\ud83d"', b'"\\ud83d\\ude00"', b"1e400"):
        assert published(replies.publication_body(data)).data == data


def test_half_surrogates_in_text_do_not_stop_a_publication() -> None:
    body = replies.publication_body(b"1", replies.client_info("u", "c", None, None), {"k\ud83d": "\ude00v"})
    assert dict(published(body).tags) == {"k\ufffd": "\ufffdv"}
    assert told(PROTOBUF.push("x\ud83d", "unsubscribe", {"code": 2000, "reason": "r"})).push.channel == "x\ufffd"


def test_history_is_written_as_what_is_published() -> None:
    body = replies.publication_body(b'{"n":1}', INFO, {"a": "b"})
    result = {"publications": [Raw(replies.with_offset(body, 9))], "epoch": "e", "offset": 9}
    found = told(PROTOBUF.reply(3, "history", result)).history
    assert found.publications[0] == published(body, 9)
    assert (found.epoch, found.offset) == ("e", 9)


def test_what_says_nothing_is_left_out_but_the_result_itself() -> None:
    assert PROTOBUF.reply(1, "publish") == b"\x08\x01\x42\x00"
    assert PROTOBUF.reply(1, "history", {"publications": [], "epoch": "", "offset": 0}) == b"\x08\x01\x5a\x00"


def test_fields_come_in_the_order_of_their_numbers() -> None:
    result = {"client": "c", "version": "1", "ping": 25, "pong": True, "session": "s", "node": "n"}
    same = CLASSES["Reply"](id=1, connect=result).SerializeToString()
    assert PROTOBUF.reply(1, "connect", result) == same
    assert PROTOBUF.reply(1, "connect", dict(reversed(result.items())) | {"data": None}) == same


def test_members_that_the_protocol_has_not_are_left_out() -> None:
    assert PROTOBUF.reply(1, "rpc", {"data": Raw(b"1"), "more": {"a": 1}}) == b"\x08\x01\x6a\x03\x0a\x011"


def test_an_error() -> None:
    found = told(PROTOBUF.error(5, CommandError(ErrorCode.INTERNAL))).error
    assert (found.code, found.message, found.temporary) == (100, "internal server error", True)


def test_several_messages_in_one_frame() -> None:
    payloads = [PROTOBUF.ping, PROTOBUF.reply(1, "publish"), PROTOBUF.message_push(b"x" * 200)]
    assert parts(PROTOBUF.joined(payloads), 3) == payloads
    assert PROTOBUF.joined([PROTOBUF.ping]) == b"\x00"


def test_a_large_client_info_is_written_too() -> None:
    info = replies.client_info("42", "c", b'"%b"' % (b"x" * 2000), None)
    assert len(told(PROTOBUF.presence(PROTOBUF.channel("x"), b"join", info)).push.join.info.conn_info) == 2002


def test_presence() -> None:
    found = told(PROTOBUF.reply(1, "presence", {"presence": {"c-1": Raw(INFO)}})).presence.presence
    assert found["c-1"].user == "42"
    assert found["c-1"].conn_info == b'{"name":"Z"}'
