"""How events are written and requests are signed, without a socket."""

import hashlib
import hmac
import json

import msgspec

from flotilla.realtime.webhooks.requests import body_of, event_of, signature, time_of


def stored(*parts: object) -> bytes:
    return msgspec.msgpack.encode([7, 1_700_000_000_250, *parts])


def test_an_event_says_what_it_is_about_and_no_more() -> None:
    raw = stored("s", "news:a", "ann", "c1", "web-0", "")
    found = json.loads(event_of(raw, "0-12") or b"")
    assert found == {
        "id": "0-12-7-1700000000250",
        "type": "subscribed",
        "time": 1_700_000_000.25,
        "channel": "news:a",
        "user": "ann",
        "client": "c1",
        "instance": "web-0",
    }
    assert time_of(raw) == 1_700_000_000.25


def test_a_visitor_has_an_empty_user_and_a_channel_that_is_vacated_none() -> None:
    assert json.loads(event_of(stored("c", "", "", "c1", "web-0", ""), "0-1") or b"")["user"] == ""
    vacated = json.loads(event_of(stored("v", "news:a", "", "", "web-0", ""), "0-1") or b"")
    assert vacated.keys() == {"id", "type", "time", "channel"}


def test_the_end_of_a_connection_says_why() -> None:
    raw = stored("d", "", "ann", "c1", "web-0", '{"code":3012,"reason":"no pong"}')
    found = json.loads(event_of(raw, "0-1") or b"")
    assert (found["type"], found["code"], found["reason"]) == ("disconnected", 3012, "no pong")


def test_what_is_no_event_is_left_out() -> None:
    for raw in (b"", b"\xff", b"x" * 100, stored("?", "", "", "", "", ""), stored("d", "", "a", "c", "i", "{")):
        assert event_of(raw, "0-1") is None
    assert time_of(b"") == float("inf")
    not_utf8 = stored("s", "news:a", "\0\0", "c1", "web-0", "").replace(b"\0\0", b"\xff\xff")
    assert event_of(not_utf8, "0-1") is None
    assert time_of(not_utf8) == float("inf")


def test_each_secret_signs_time_and_body() -> None:
    body = body_of([b'{"a":1}', b'{"b":2}'])
    assert json.loads(body) == {"events": [{"a": 1}, {"b": 2}]}
    header = signature(("new", "old"), 1_700_000_000, body)
    wanted = [hmac.new(secret, b"1700000000." + body, hashlib.sha256).hexdigest() for secret in (b"new", b"old")]
    assert header == f"t=1700000000,v1={wanted[0]},v1={wanted[1]}"
