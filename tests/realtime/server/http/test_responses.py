"""A response as bytes: as long as it says, framed so that its end is known, and none where there is none."""

import pytest

from flotilla.realtime.server.http.response import Response

Pairs = list[tuple[bytes, bytes]]


def said(*parts: bytes, status: int = 200, headers: Pairs | None = None, head_only: bool = False, chunks: bool = True,
         keep: bool = True, flush: bool = False) -> tuple[bytes, bytes, Response]:  # fmt: skip
    """The head, the body and the response of these parts."""
    response = Response(head_only=head_only, chunks=chunks, keep=keep)
    response.start(status, headers or [])
    wire = response.flush() if flush else b""
    for number, part in enumerate(parts):
        wire += response.body(part, number < len(parts) - 1)
        if response.complete:
            break
    head, _, body = wire.partition(b"\r\n\r\n")
    return head.lower(), body, response


def test_one_part_has_its_length() -> None:
    head, body, response = said(b"hello")
    assert head.startswith(b"http/1.1 200 ok\r\n")
    assert b"content-length: 5" in head
    assert b"\r\ndate: " in head
    assert (body, response.complete, response.keep) == (b"hello", True, True)


def test_several_parts_are_chunks() -> None:
    head, body, _ = said(b"hello", b"", b"you", b"")
    assert b"transfer-encoding: chunked" in head
    assert body == b"5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n"


def test_a_head_that_leaves_first_is_followed_by_chunks() -> None:
    assert said(b"hello", flush=True)[1] == b"5\r\nhello\r\n0\r\n\r\n"


def test_http_1_0_ends_with_the_connection() -> None:
    head, body, response = said(b"a", b"b", chunks=False)
    assert b"connection: close" in head
    assert b"transfer-encoding" not in head
    assert (body, response.keep) == (b"ab", False)


def test_http_1_0_may_stay_where_the_length_is_known() -> None:
    head, _, response = said(b"a", chunks=False)
    assert b"connection: keep-alive" in head
    assert response.keep


@pytest.mark.parametrize("flush", [False, True])
@pytest.mark.parametrize("parts", [(b"hello",), (b"a", b"b")])
def test_head_has_no_body(parts: tuple[bytes, ...], flush: bool) -> None:
    head, body, response = said(*parts, head_only=True, headers=[(b"content-length", b"5")], flush=flush)
    assert (body, response.complete, response.keep) == (b"", True, True)
    assert b"content-length: 5" in head
    assert b"transfer-encoding" not in said(*parts, head_only=True)[0]


@pytest.mark.parametrize("status", [204, 304])
def test_some_statuses_have_no_body(status: int) -> None:
    head, body, response = said(b"hello", status=status, headers=[(b"content-length", b"5")])
    assert (body, response.complete) == (b"", True)
    assert b"content-length" not in head


def test_statuses_have_their_phrases_and_unknown_ones_none() -> None:
    assert said(b"", status=429)[0].startswith(b"http/1.1 429 too many requests\r\n")
    assert said(b"", status=599)[0].startswith(b"http/1.1 599 \r\n")


def test_framing_is_ours() -> None:
    headers = [(b"Transfer-Encoding", b"gzip"), (b"Connection", b"keep-alive"), (b"Keep-Alive", b"timeout=5")]
    head = said(b"hello", headers=headers)[0]
    assert b"gzip" not in head
    assert b"keep-alive" not in head


def test_an_application_can_close() -> None:
    head, _, response = said(b"x", headers=[(b"Connection", b"close")])
    assert b"connection: close" in head
    assert not response.keep


@pytest.mark.parametrize("parts", [(b"123",), (b"123", b"456"), (b"12", b"3", b"")])
def test_a_body_that_is_not_as_long_as_it_says_is_a_fault(parts: tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError, match="Content-Length"):
        said(*parts, headers=[(b"content-length", b"5")])


@pytest.mark.parametrize(
    "header",
    [
        (b"x", b"a\r\nb: c"),
        (b"x", b"a\nb"),
        (b"x\r\ny", b"a"),
        (b"x y", b"a"),
        (b"", b"a"),
        ("x", b"a"),
        (b"x", "a"),
        (b"x", b"a\0"),
        (b"content-length", b"-1"),
    ],
)
def test_no_header_can_smuggle_in_another(header: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match=r"."):
        said(b"", headers=[header])


@pytest.mark.parametrize("status", [100, 101, 0, 1000, "200"])
def test_no_status_that_is_none(status: int) -> None:
    with pytest.raises(ValueError, match="status"):
        said(b"", status=status)


def test_the_order_is_kept() -> None:
    response = Response(head_only=False, chunks=True, keep=True)
    with pytest.raises(ValueError, match="not started"):
        response.body(b"", False)
    response.start(200, [])
    with pytest.raises(ValueError, match="started already"):
        response.start(200, [])
    response.body(b"", False)
    with pytest.raises(ValueError, match="complete"):
        response.body(b"", False)
