"""A request's body: whole in any pieces, and nothing of it that is not bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.realtime.server.head import Refused
from flotilla.realtime.server.http.body import MAX_EXTENSIONS, MAX_LINE, Chunked, Length


def chunks(*parts: bytes, extension: bytes = b"", trailers: bytes = b"") -> bytes:
    """A body in these chunks."""
    sent = b"".join(b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts)
    return sent + b"0\r\n" + trailers + b"\r\n"


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.integers(1, 50), st.binary(max_size=9))
def test_chunks_come_whole_in_any_pieces(parts: list[bytes], size: int, rest: bytes) -> None:
    data, body, found = chunks(*parts, extension=b";a=b", trailers=b"X: 1\r\n") + rest, Chunked(1000), b""
    for start in range(0, len(data), size):
        found += body.feed(data[start : start + size])
        if body.done:
            assert body.rest + data[start + size :] == rest
            break
    assert body.done
    assert found == b"".join(parts)


@given(st.binary(max_size=40), st.integers(1, 20), st.integers(0, 40))
def test_a_length_is_kept_to_the_byte(data: bytes, size: int, length: int) -> None:
    body, found = Length(length), b""
    for start in range(0, len(data), size):
        if body.done:
            break
        found += body.feed(data[start : start + size])
    assert found == data[:length]
    assert body.done is (len(data) >= length)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (chunks(b"x" * 600, b"x" * 600), 413),
        (b"fffffffffffffff\r\n", 413),
        (b"g\r\n", 400),
        (b"-1\r\n", 400),
        (b" 1\r\n", 400),
        (b"1\n", 400),
        (b"1\r\nxy\r\n", 400),
        (b"1;" + b"x" * MAX_LINE, 400),
        (chunks(*[b"x"] * 100, extension=b";" + b"x" * (MAX_EXTENSIONS // 90)), 400),
        (chunks(trailers=b"no colon\r\n"), 400),
        (chunks(trailers=b"X: 1\r\n" * 2000), 400),
        (b"1\r\nx\r\n0\r\nX: " + b"x" * MAX_LINE, 400),
    ],
)
def test_what_is_improper_or_too_much_is_refused(data: bytes, status: int) -> None:
    for size in (1, len(data)):
        body = Chunked(1000)
        with pytest.raises(Refused) as refused:
            for start in range(0, len(data), size):
                body.feed(data[start : start + size])
        assert refused.value.status == status


@given(st.binary(max_size=200))
def test_no_bytes_make_it_fail_otherwise(noise: bytes) -> None:
    try:
        Chunked(50).feed(noise)
    except Refused as refused:
        assert refused.status in (400, 413)
