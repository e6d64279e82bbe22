"""What is told of a message at a glance is what the general parser finds, and the rest is left to that."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flotilla.realtime.protocol.commands import parse
from flotilla.realtime.protocol.nesting import unreadable
from tests.both_implementations import NATIVE, implementations
from tests.realtime.protocol.test_commands import JSON_VALUES

PUBLISH = '{"id":7,"publish":{"channel":"news","data":%s}}'
pytestmark = pytest.mark.parametrize("speedups", implementations())
many = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def check(line: bytes, glance: Any) -> None:
    """A glance at one line against the general parser."""
    if isinstance(glance, bytes):
        assert glance == line
        return
    (command,) = parse(line)
    assert command.fits
    if glance == ():
        assert command.is_pong and not command.method
        return
    id, channel, data = glance
    assert (command.method, command.id) == ("publish", id) and id > 0
    assert command.publish is not None
    assert (command.publish.channel, bytes(command.publish.data)) == (channel, data)
    assert channel and data and not unreadable(data)


def told(speedups: Any, line: str) -> Any:
    """A glance at one line, checked."""
    (glance,) = speedups.scan(line.encode(), 256)
    check(line.encode(), glance)
    return glance


@many
@given(data=JSON_VALUES, channel=st.text(), id=st.integers(0, 2**33), swapped=st.booleans(), spaced=st.booleans())
def test_publications_are_what_they_are_to_the_parser(
    speedups: Any, data: Any, channel: str, id: int, swapped: bool, spaced: bool
) -> None:
    request: dict[str, Any] = {"data": data, "channel": channel} if swapped else {"channel": channel, "data": data}
    command = {"publish": request, "id": id} if swapped else {"id": id, "publish": request}
    for ascii_only in (True, False):
        separators = (" , ", "\t: ") if spaced else (",", ":")
        line = json.dumps(command, ensure_ascii=ascii_only, separators=separators)
        if 0 < id < 2**32:
            told(speedups, line)
        else:
            assert isinstance(speedups.scan(line.encode(), 1)[0], bytes)


@pytest.mark.parametrize("data", ["1", "-0.5e+7", '"ü🚀"', '"\\u00fc\\n"', "{}", "[ ]", '{"a":[1,{"b":null}]}', "true"])
def test_the_usual_forms_are_told_by_the_native_part(speedups: Any, data: str) -> None:
    glance = told(speedups, PUBLISH % data)
    if speedups is NATIVE:
        assert glance == (7, "news", data.encode())
        assert told(speedups, "{}") == ()


@pytest.mark.parametrize(
    "line",
    [
        *(PUBLISH % data for data in ("null", "nul", "01", "1.", ".5", "1e", "+1", "-", '"', '"a', '"\t"', '"\\x"')),
        *(PUBLISH % data for data in ('"\\ud83d"', '"\\u12"', "[1,]", "[,]", "{,}", '{"a"}', '{"a":}', "{1:2}", "NaN")),
        *(PUBLISH % data for data in ("[" * 65 + "]" * 65, "[" * 5000, "[" * 5000 + "]" * 5000, "9" * 301, "")),
        PUBLISH % "1" + "x",
        PUBLISH % "1" + "}",
        PUBLISH[:-1] % "1",
        '{"id":7,"publish":{"channel":"","data":1}}',
        '{"id":7,"publish":{"channel":"a\\u0062","data":1}}',
        '{"id":7,"publish":{"channel":"a"}}',
        '{"id":7,"publish":{"data":1}}',
        '{"id":7,"publish":{"channel":"a","data":1,"data":2}}',
        '{"id":7,"publish":{"channel":"a","channel":"b","data":2}}',
        '{"id":7,"publish":{"channel":"a","data":2},"id":8}',
        '{"id":7,"publish":{"channel":"a","data":2},"publish":{"channel":"a","data":2}}',
        '{"id":7,"publish":{"channel":"a","data":2},"connect":{}}',
        '{"id":7,"connect":{},"publish":{"channel":"a","data":2}}',
        *(PUBLISH.replace("7", id) % "1" for id in ("0", "-1", "1.0", "4294967296", "07", '"7"')),
        '{"publish":{"channel":"a","data":2}}',
        '{"id":7}',
        "",
        "{",
        "{ }",
        "{}x",
        " {}",
        '{"id":1,"connect":{}}',
    ],
)
def test_everything_else_is_left_to_the_parser(speedups: Any, line: str) -> None:
    assert speedups.scan(line.encode(), 256) == [line.encode()]


@pytest.mark.parametrize(
    ("message", "most", "lines"),
    [
        (b"", 5, [b""]),
        (b"\n", 5, [b""]),
        (b"a\n", 5, [b"a"]),
        (b"a\nb", 5, [b"a", b"b"]),
        (b"a\n\nb\n", 5, [b"a", b"", b"b"]),
        (b"a\n\n", 5, [b"a", b""]),
        (b"a\nb\n", 2, [b"a", b"b"]),
        (b"a\nb\nc", 2, [b"a", b"b", b"c"]),
        (b"a\nb\nc\nd\n", 2, [b"a", b"b", b"c\nd\n"]),
        (b"a\nb", 1, [b"a", b"b"]),
    ],
)
def test_lines_are_told_apart_up_to_a_bound(speedups: Any, message: bytes, most: int, lines: list[bytes]) -> None:
    assert speedups.scan(message, most) == lines


def test_commands_of_a_batch_keep_their_order(speedups: Any) -> None:
    lines = [PUBLISH.encode() % b"1", b"{}", b'{"id":8,"history":{"channel":"news"}}', PUBLISH.encode() % b"[2]"]
    found = speedups.scan(b"\n".join(lines) + b"\n", 4)
    for line, glance in zip(lines, found, strict=True):
        check(line, glance)


@pytest.mark.parametrize("message", [b"\xff", b'{"id":1}\n\x80', b'{"id":"\xed\xa0\x80"}', b"a" * 30 + b"\xc3"])
def test_what_is_not_utf8_is_refused(speedups: Any, message: bytes) -> None:
    with pytest.raises(UnicodeDecodeError):
        speedups.scan(message, 256)
