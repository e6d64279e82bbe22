"""Replies and pushes as events for somebody who only listens."""

import json
from typing import Any

import pytest

from flotilla.realtime.responses.one_way import Listener, Position, must_begin_again, positions_in, read


def fed(listener: Listener, *messages: Any) -> list[dict[str, str]]:
    """The events that come of messages, as fields."""
    found = []
    for message in messages:
        for said in read(message if isinstance(message, bytes) else json.dumps(message).encode()):
            for event in listener.events(said):
                fields: dict[str, str] = {}
                for line in event.decode().strip("\n").split("\n"):
                    key, _, value = line.partition(": ")
                    fields[key] = f"{fields[key]}\n{value}" if key in fields else value
                found.append(fields)
    return found


def connected(**subs: Any) -> dict[str, Any]:
    return {"id": 1, "connect": {"client": "c", "version": "1", "subs": subs}}


def sub(offset: int = 0, **more: Any) -> dict[str, Any]:
    return {"recoverable": True, "epoch": "e", "offset": offset, **more}


def pub(channel: str, offset: int = 0, data: Any = 1) -> dict[str, Any]:
    body = {"data": data, **({"offset": offset} if offset else {})}
    return {"push": {"channel": channel, "pub": body}}


def test_every_event_s_id_says_the_positions_of_all_channels() -> None:
    events = fed(
        Listener(["a", "b c"]), connected(), {"id": 3, "subscribe": sub(7)}, {"id": 2, "subscribe": sub(1)}, pub("a", 2)
    )
    assert [positions_in(event["id"]) for event in events] == [
        {"b c": Position(7, "e"), "a": Position(1, "e")},
        {"b c": Position(7, "e"), "a": Position(2, "e")},
    ]


def test_what_was_missed_follows_the_first_event_and_then_what_came_too_early() -> None:
    missed = {"id": 2, "subscribe": sub(3, publications=[{"data": "x", "offset": 4}], recovered=True)}
    listener = Listener(["a", "b"])
    events = fed(listener, connected(), missed, pub("a", 5), {"id": 3, "subscribe": sub()})
    assert [json.loads(event["data"]).get("pub", {}).get("offset") for event in events] == [None, 4, 5]
    assert "publications" not in json.loads(events[0]["data"])["connect"]["subs"]["a"]
    assert listener.positions["a"] == Position(5, "e")


def test_channels_without_history_have_no_position() -> None:
    events = fed(Listener(["a"]), connected(), {"id": 2, "subscribe": {}}, pub("a"))
    assert events[-1]["id"] == ""


def test_the_server_s_own_subscriptions_have_positions() -> None:
    listener = Listener([])
    later = {"push": {"channel": "later", "subscribe": sub(4)}}
    fed(listener, connected(**{"#7": sub(3)}), pub("#7", 4), later)
    assert positions_in(listener.id) == {"#7": Position(4, "e"), "later": Position(4, "e")}


def test_a_subscription_that_was_ended_has_none() -> None:
    listener = Listener(["a"])
    ended = {"push": {"channel": "a", "unsubscribe": {"code": 2000, "reason": "x"}}}
    fed(listener, connected(), {"id": 2, "subscribe": sub(1)}, ended)
    assert listener.id == ""


def test_one_that_should_be_asked_for_again_keeps_its_position() -> None:
    (said,) = read(b'{"push":{"channel":"a","unsubscribe":{"code":2500,"reason":"x"}}}')
    assert must_begin_again(said)


@pytest.mark.parametrize(
    ("data", "text"), [("<b>\n</b>", "<b>\n</b>"), ({"a": 1}, '{"a": 1}'), (None, "null"), ("", "")]
)
def test_named_events_hold_the_data_alone(data: Any, text: str) -> None:
    (event,) = fed(Listener(["a"], named=True), connected(), {"id": 2, "subscribe": {}}, pub("a", data=data))[1:]
    assert event["event"] == "a"
    assert event["data"].strip() == text


def test_half_a_character_in_what_somebody_published_is_passed_on() -> None:
    """As JSON has it; where text is wanted, it is the JSON of it."""
    push = b'{"push":{"channel":"a","pub":{"data":"\\ud83d"}}}'
    for named in (False, True):
        (event,) = fed(Listener([], named=named), connected(), push)[1:]
        assert "\\ud83d" in event["data"]


@pytest.mark.parametrize("depth", [900, *range(980, 1001), 20_000])
@pytest.mark.parametrize("inner", [b"1", b'"]\\"[{ \\ud83d"'])
def test_what_is_nested_deeper_than_can_be_read_is_passed_on(depth: int, inner: bytes) -> None:
    """Others may publish it, and a listener that fails would keep it from those who are written to after it."""
    data = b'[{"a":' * (depth // 2) + inner + b"}]" * (depth // 2)
    body = b'{"data":%b,"offset":4}' % data
    push = b'{"push":{"channel":"a","pub":%b}}' % body
    missed = b'{"id":2,"subscribe":{"recoverable":true,"epoch":"e","offset":3,"publications":[%b]}}' % body
    for named in (False, True):
        for messages in ((connected(), {"id": 2, "subscribe": sub(3)}, push), (connected(), missed)):
            listener = Listener(["a"], named)
            event = fed(listener, *messages)[-1]
            wanted = data if named else b'{"channel":"a","pub":%b}' % body
            assert event["data"] == wanted.decode()
            assert listener.positions["a"] == Position(4, "e")


def test_a_final_end_keeps_browsers_away() -> None:
    for code, stays_away in ((3001, False), (3503, True), (4100, False), (4500, True)):
        (said,) = read(b'{"push":{"disconnect":{"code":%d,"reason":"x"}}}' % code)
        wire = b"".join(_begun().events(said))
        assert (b"retry: " in wire) is stays_away


def _begun() -> Listener:
    listener = Listener([])
    fed(listener, connected())
    return listener


@pytest.mark.parametrize(
    ("message", "status", "again"),
    [
        ({"id": 1, "error": {"code": 109, "message": "token expired"}}, 401, False),
        ({"id": 2, "error": {"code": 103, "message": "permission denied"}}, 403, False),
        ({"id": 2, "error": {"code": 102, "message": "unknown channel"}}, 404, False),
        ({"id": 2, "error": {"code": 100, "message": "internal", "temporary": True}}, 400, True),
        ({"id": 2, "error": {"code": 1234, "message": "own"}}, 400, False),
        ({"push": {"disconnect": {"code": 3500, "reason": "invalid token"}}}, 401, False),
        ({"push": {"disconnect": {"code": 3001, "reason": "shutdown"}}}, 403, True),
    ],
)
def test_what_goes_wrong_at_the_start_has_a_status(message: Any, status: int, again: bool) -> None:
    (said,) = read(json.dumps(message).encode())
    problem = Listener(["a"]).problem(said)
    assert problem is not None
    assert (problem.status, problem.again) == (status, again)


def test_a_channel_that_the_server_gives_anyway_may_be_asked_for() -> None:
    (said,) = read(b'{"id":2,"error":{"code":105,"message":"already subscribed"}}')
    listener = Listener(["a"])
    assert listener.problem(said) is None
    assert fed(listener, connected(a=sub(1)), b'{"id":2,"error":{"code":105,"message":"already subscribed"}}')


@pytest.mark.parametrize("id", ["a", "a=", "a=x.e", "a=-1.e", "a=1", "a=99999999999999999999.e", "a=١.e", "&&"])
def test_an_id_that_is_none_of_ours(id: str) -> None:
    with pytest.raises(ValueError):
        positions_in(id)
