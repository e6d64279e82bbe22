"""A request's head: what is proper is read as it came, what two readers could take differently is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.realtime.server.head import MAX_HEAD, MAX_HEADERS, MAX_TARGET, Head, HeadReader, Refused


def head(line: bytes = b"GET /a?b HTTP/1.1", *more: bytes, host: bytes | None = b"Host: a") -> bytes:
    """A head of these lines."""
    lines = (line, *more) if host is None else (line, host, *more)
    return b"\r\n".join(lines) + b"\r\n\r\n"


def read(data: bytes) -> Head:
    """What it says."""
    found = HeadReader().feed(data)
    assert found is not None
    return found


def status(data: bytes) -> int:
    """With which it is refused."""
    with pytest.raises(Refused) as refused:
        HeadReader().feed(data)
    assert refused.value.response().startswith(b"HTTP/1.1 %d " % refused.value.status)
    return refused.value.status


def test_it_is_read_as_it_came() -> None:
    found = read(head(b"POST /%C3%A4?a=%20b HTTP/1.1", b"X-Two: 1 ", b"x-two:\t2", b"Content-Length: 5"))
    assert (found.method, found.target, found.query, found.version) == (b"POST", b"/%C3%A4", b"a=%20b", "1.1")
    assert found.values(b"x-two") == [b"1", b"2"]
    assert (found.length, found.keeps_alive, found.has_body) == (5, True, True)


@given(st.integers(1, 60), st.binary(max_size=30))
def test_it_may_come_in_any_pieces(size: int, rest: bytes) -> None:
    data, reader = head(b"GET /a HTTP/1.1", b"Cookie: a=b") + rest, HeadReader()
    for start in range(0, len(data), size):
        found = reader.feed(data[start : start + size])
        if found is not None:
            assert reader.rest + data[start + size :] == rest
            return
    raise AssertionError("it was whole")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (head(b"GET / HTTP/2.0"), 505),
        (head(b"SING / HTTP/1.1"), 501),
        (head(b"CONNECT a:80 HTTP/1.1"), 501),
        (head(b"GET / HTTP/1.1", b"Transfer-Encoding: gzip"), 501),
        (head(b"GET / HTTP/1.1", b"Transfer-Encoding: gzip, chunked"), 501),
        (head(b"GET / HTTP/1.1", b"Transfer-Encoding: chunked", b"Content-Length: 1"), 400),
        (head(b"GET / HTTP/1.0", b"Transfer-Encoding: chunked"), 400),
        (head(b"GET / HTTP/1.1", b"Content-Length: 1", b"Content-Length: 1"), 400),
        (head(b"GET / HTTP/1.1", b"Content-Length: 9999999999999999999"), 400),
        (head(b"GET / HTTP/1.1", b"X: a", b" folded"), 400),
        (head(b"GET / HTTP/1.1", b"X : a"), 400),
        (head(b"GET / HTTP/1.1", b"Expect: 200-ok"), 417),
        (head(host=None), 400),
        (head(b"GET / HTTP/1.1", b"Host: b"), 400),
        (head(host=b"Host: a/b"), 400),
        (head(b"GET /a#b HTTP/1.1"), 400),
        (head(b"GET  / HTTP/1.1"), 400),
        (head(b"GET /" + b"x" * MAX_TARGET + b" HTTP/1.1"), 414),
        (b"GET /" + b"x" * MAX_HEAD, 414),
        (head(b"GET / HTTP/1.1", b"Cookie: " + b"x" * MAX_HEAD), 431),
        (head(b"GET / HTTP/1.1", *(b"X: 1" for _ in range(MAX_HEADERS))), 431),
        (b"\x16\x03\x01", 400),
        (b"GET / HTTP/1.1\nHost: a", 400),
        (b"\r\n\r\n\r\n", 400),
    ],
)
def test_what_is_improper_has_its_status(data: bytes, expected: int) -> None:
    assert status(data) == expected


@given(st.binary(max_size=300))
def test_no_bytes_make_it_fail_otherwise(noise: bytes) -> None:
    for data in (noise, head()[:-2] + noise + b"\r\n\r\n", b"GET " + noise + head()[4:]):
        try:
            HeadReader().feed(data)
        except Refused as refused:
            assert refused.status in (400, 414, 417, 431, 501, 505)


def test_several_cookies_are_one() -> None:
    assert read(head(b"GET / HTTP/1.1", b"Cookie: a=1; b=2", b"Cookie: c=3")).values(b"cookie") == [b"a=1; b=2; c=3"]


def test_the_host_of_a_full_address_counts() -> None:
    found = read(head(b"GET http://b:8000/x?y HTTP/1.1"))
    assert (found.values(b"host"), found.target, found.query) == ([b"b:8000"], b"/x", b"y")


@pytest.mark.parametrize(
    ("version", "connection", "keeps"),
    [
        (b"1.1", b"x", True),
        (b"1.1", b"x, Close", False),
        (b"1.0", b"x", False),
        (b"1.0", b"Keep-Alive", True),
    ],
)
def test_who_wants_the_connection_kept(version: bytes, connection: bytes, keeps: bool) -> None:
    assert read(head(b"GET / HTTP/" + version, b"Connection: " + connection)).keeps_alive is keeps


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (head(b"GET / HTTP/1.1", b"Accept: text/html,*/*", b"A: " + b"a" * MAX_HEAD), 431),
        (head(b"GET / HTTP/1.1", *(b"A: %d" % number for number in range(MAX_HEADERS)), b"accept:text/html"), 431),
        (head(b"GET /" + b"a" * MAX_TARGET + b" HTTP/1.1", b"Accept: text/html,*/*"), 414),
        (head(b"GET / HTTP/1.1", b"Accept: text/html,*/*", b"Content-Length: x"), 400),
    ],
)
def test_a_browser_is_refused_with_a_page(data: bytes, status: int) -> None:
    reader = HeadReader()
    with pytest.raises(Refused) as refused:
        reader.feed(data)
    answer = refused.value.response(reader.accept)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"content-type: text/html" in answer and b"<h1>" in answer
    assert b"content-type: text/plain" in refused.value.response()


def test_what_a_refused_head_accepts_may_be_unknown() -> None:
    reader = HeadReader()
    with pytest.raises(Refused):
        reader.feed(b"GET /" + b"a" * MAX_TARGET)
    assert reader.accept == b""
