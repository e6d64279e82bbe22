"""Messages in the body of a response that does not end."""

from flotilla.realtime.protocol.encodings import JSON
from flotilla.realtime.protocol.streams import as_event, as_lines, as_they_are, chunk, event, stream_format


def test_an_object_a_line_in_a_chunk() -> None:
    frame = stream_format(JSON, as_lines, True).frame([b'{"a":1}', b"{}"])
    assert frame.payload == b'{"a":1}\n{}\n'
    assert frame.wire == b"b\r\n" + frame.payload + b"\r\n"


def test_without_chunks_the_wire_is_the_part_itself() -> None:
    frame = stream_format(JSON, as_lines, False).frame([b"{}"])
    assert frame.wire == frame.payload == b"{}\n"


def test_an_event_has_a_line_for_each_object_and_none_that_a_payload_makes() -> None:
    """A raw CR is blank space in JSON, and the end of a line in an event."""
    assert as_event(b'{"a":\r1}\n{}') == b'data: {"a": 1}\ndata: {}\n\n'


def test_formats_are_one_object_of_a_kind() -> None:
    assert stream_format(JSON, as_event, True) is stream_format(JSON, as_event, True)
    assert stream_format(JSON, as_event, True) is not stream_format(JSON, as_they_are, True)


def test_the_ping_is_framed_alike() -> None:
    assert stream_format(JSON, as_event, True).ping.wire == chunk(b"data: {}\n\n")


def test_text_with_any_end_of_line_is_one_event() -> None:
    assert event("a\r\nb\rc\n", "news", "x=1.e") == b"id: x=1.e\nevent: news\ndata: a\ndata: b\ndata: c\ndata: \n\n"
    assert event("a") == b"data: a\n\n"
