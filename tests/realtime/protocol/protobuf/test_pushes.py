"""What is pushed, for who looks on."""

import json

from flotilla.realtime.protocol import bodies, replies
from flotilla.realtime.protocol.protobuf.encoding import PROTOBUF

INFO = replies.client_info("42", "c", b'{"a":1}', None)


def test_pushes_are_told_in_json_and_replies_are_not() -> None:
    channel = PROTOBUF.channel("room:1")
    content = PROTOBUF.joined(
        [
            PROTOBUF.ping,
            PROTOBUF.reply(1, "publish"),
            PROTOBUF.publication(channel, bodies.binary(b"\xff", INFO, {"k": "v"}), 3),
            PROTOBUF.presence(channel, b"leave", INFO),
            PROTOBUF.push("room:1", "unsubscribe", {"code": 2500, "reason": "r"}),
            PROTOBUF.message_push(b"[1]"),
        ]
    )
    info = {"user": "42", "client": "c", "conn_info": {"a": 1}}
    assert [json.loads(line)["push"] for line in PROTOBUF.lines(content)] == [
        {"channel": "room:1", "pub": {"b64data": "/w==", "info": info, "offset": 3, "tags": {"k": "v"}}},
        {"channel": "room:1", "leave": {"info": info}},
        {"channel": "room:1", "unsubscribe": {"code": 2500, "reason": "r"}},
        {"message": {"data": [1]}},
    ]
