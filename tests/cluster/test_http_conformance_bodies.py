"""RFC 9110 and 9112, bodies of requests: lengths, chunks, expectations, and the bound on them (`HTTP_MAX_BODY`)."""

import random
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest

from tests.cluster.support.generic_server import Server
from tests.cluster.support.harness import API_KEY, CONFIG
from tests.cluster.support.http_client import HOST, Client, chunked, get, one_server, raw_chunks, request, seen
from tests.cluster.support.processes import PATIENCE, wait_until

MAX = 1_000_000  # bytes of a body, where the bound is tried
EXPECT = "Expect: 100-continue"


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An instance that takes small bodies only."""
    with one_server(tmp_path_factory.mktemp("strict"), CONFIG, HTTP_MAX_BODY=str(MAX)) as made:
        yield made


@pytest.mark.parametrize("tls", [False, True])
def test_bodies_of_every_size_come_whole(server: Server, tls: bool) -> None:
    random_bytes = random.Random(1).randbytes(3_000_000)
    with Client(server.tls_port if tls else server.port, tls=tls) as client:
        for size in (1, 1000, 65535, 65536, 65537, 1_000_000, 3_000_000):
            body = random_bytes[:size]
            told = client.ask(request("POST", "/generic/sink", body=body)).json
            assert (told["size"], told["sha256"]) == (size, sha256(body).hexdigest())
            pieces = [body[i : i + 9000] for i in range(0, size, 9000)]
            assert client.ask(chunked(*pieces, path="/generic/sink")).json["sha256"] == sha256(body).hexdigest()


def test_a_large_body_comes_in_pieces(server: Server) -> None:
    with Client(server.port) as client:
        told = client.ask(request("POST", "/generic/sink", body=b"x" * 5_000_000)).json
    assert told["largest"] <= 1 << 20


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "PUT", "PATCH", "OPTIONS"])
def test_any_method_may_have_a_body(server: Server, method: str) -> None:
    """And the next request is the next request."""
    with Client(server.port) as client:
        found = client.ask(request(method, "/generic/request", body=b"hello"))
        assert method == "HEAD" or found.json["body"] == "hello"
        assert client.ask(get()).json["method"] == "GET"


@pytest.mark.parametrize("path", ["/generic/unread", "/nowhere", "/api/info", "/static/realtime/admin/live.js"])
@pytest.mark.parametrize("size", [10, 100_000, 3_000_000])
def test_a_body_that_nobody_reads_hurts_no_next_request(server: Server, path: str, size: int) -> None:
    """It is read and thrown away, or the connection ends: its bytes are never taken for a request."""
    body = get("/generic/smuggled") * (size // 60 + 1)
    with Client(server.port) as client:
        found = client.ask(request("POST", path, body=body))
        assert 400 <= found.status < 500
        client.send(get())
        after = client.answer()
        assert after.status in (0, 200)
        assert not after.body or after.json["path"] == "/generic/request"


FORMS = {
    "lower": b"a\r\n0123456789\r\n0\r\n\r\n",
    "upper": b"A\r\n0123456789\r\n0\r\n\r\n",
    "zeros before": b"000a\r\n0123456789\r\n000\r\n\r\n",
    "several": b"1\r\n0\r\n8\r\n12345678\r\n1\r\n9\r\n0\r\n\r\n",
    "an extension": b"a;name=value\r\n0123456789\r\n0\r\n\r\n",
    "an extension in quotes": b'a;name="a;b c"\r\n0123456789\r\n0;x\r\n\r\n',
    "an extension without value": b"a;name\r\n0123456789\r\n0\r\n\r\n",
    "a trailer": b"a\r\n0123456789\r\n0\r\nX-Trailer: 1\r\n\r\n",
    "trailers that would frame": b"a\r\n0123456789\r\n0\r\nContent-Length: 50\r\nTransfer-Encoding: x\r\n\r\n",
    "a trailer that would be a host": b"a\r\n0123456789\r\n0\r\nHost: evil.example\r\nX-API-Key: 1\r\n\r\n",
}


@pytest.mark.parametrize("body", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("step", [0, 1])
def test_chunks_of_every_proper_form(server: Server, body: bytes, step: int) -> None:
    """In one go, and byte by byte. Trailers are no headers."""
    with Client(server.port) as client:
        data = raw_chunks(body)
        for start in range(0, len(data), step or len(data)):
            client.send(data[start : start + (step or len(data))])
        told = client.answer().json
        assert told["body"] == "0123456789"
        names = [name for name, _ in told["headers"]]
        assert "x-trailer" not in names and "x-api-key" not in names and names.count("host") == 1
        assert client.ask(get()).json["method"] == "GET"


BROKEN = {
    "no number": b"g\r\nhello\r\n0\r\n\r\n",
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "an extension only": b";x\r\nhello\r\n0\r\n\r\n",
    "negative": b"-5\r\nhello\r\n0\r\n\r\n",
    "a sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "hex by name": b"0x5\r\nhello\r\n0\r\n\r\n",
    "an underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
    "a blank before": b" 5\r\nhello\r\n0\r\n\r\n",
    "other digits": b"\xb5\r\nhello\r\n0\r\n\r\n",
    "a size of 17 digits": b"1" + b"0" * 16 + b"\r\nhello\r\n0\r\n\r\n",
    "a size that turns negative": b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "a size without end": b"0" * 100_000 + b"5\r\nhello\r\n0\r\n\r\n",
    "an extension without end": b"5;" + b"x" * 100_000 + b"\r\nhello\r\n0\r\n\r\n",
    "a bare line feed": b"5\nhello\n0\n\n",
    "a bare line feed behind the size": b"5\nhello\r\n0\r\n\r\n",
    "a bare line feed in an extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "a carriage return in an extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "no end of a chunk": b"5\r\nhello0\r\n\r\n",
    "other bytes at the end of a chunk": b"5\r\nhelloXX0\r\n\r\n",
    "more than the size": b"5\r\nhello world\r\n0\r\n\r\n",
    "a trailer without end": b"5\r\nhello\r\n0\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    "trailers without number": b"5\r\nhello\r\n0\r\n" + b"X: 1\r\n" * 30_000 + b"\r\n",
    "a trailer that is none": b"5\r\nhello\r\n0\r\nno colon\r\n\r\n",
    "a folded trailer": b"5\r\nhello\r\n0\r\nX: 1\r\n y\r\n\r\n",
    "a trailer with a NUL": b"5\r\nhello\r\n0\r\nX: \0\r\n\r\n",
    "a bare line feed at the end": b"5\r\nhello\r\n0\r\n\n",
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
def test_broken_chunks_are_refused_and_end_the_connection(server: Server, body: bytes) -> None:
    """The application may have begun by then; it never takes what it got for the whole."""
    before = len(seen(server))
    with Client(server.port) as client:
        found = client.ask(raw_chunks(body) + get("/generic/smuggled"))
        assert found.status in (0, 400, 413, 431)
        assert client.over()
    assert set(seen(server)[before:]) <= {"request without its end"}


def test_an_unfinished_body_is_never_taken_for_a_whole_one(server: Server) -> None:
    """The client goes, or will say nothing more."""
    half_of_it = request("POST", "/generic/sink", "Content-Length: 100", body=b"x" * 50)
    for data in (half_of_it, raw_chunks(b"5\r\nhello\r\n", "/generic/sink")):
        for half in (True, False):
            with Client(server.port) as client:
                client.send(data)
                if half:
                    client.socket.shutdown(1)
                    assert client.answer().status in (0, 400, 408)
    assert "Traceback" not in server.log.read_text()


# Expect: 100-continue


@pytest.mark.parametrize("expect", [EXPECT, "expect: 100-Continue"])
@pytest.mark.parametrize("frame", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_the_body_is_asked_for_when_it_is_wanted(server: Server, expect: str, frame: str) -> None:
    with Client(server.port) as client:
        client.send(request("POST", "/generic/request", HOST, frame, expect))
        assert client.head() == b"HTTP/1.1 100 Continue"
        client.send(b"hello" if "Length" in frame else b"5\r\nhello\r\n0\r\n\r\n")
        found = client.answer()
        assert (found.json["body"], found.interim) == ("hello", [])
        assert client.ask(get()).status == 200


def test_a_body_that_came_already_needs_no_asking(server: Server) -> None:
    with Client(server.port) as client:
        found = client.ask(request("POST", "/generic/request", EXPECT, body=b"hello"))
        assert found.json["body"] == "hello"
        assert found.interim in ([], [100])
        assert client.ask(get()).status == 200


def test_a_request_without_a_body_is_not_asked_for_one(server: Server) -> None:
    for more in ((), ("Content-Length: 0",)):
        with Client(server.port) as client:
            found = client.ask(get("/generic/request", HOST, EXPECT, *more))
            assert (found.status, found.interim) == (200, [])


def test_http_1_0_knows_no_100(server: Server) -> None:
    with Client(server.port) as client:
        client.send(request("POST", "/generic/request", EXPECT, body=b"hello", version="1.0"))
        found = client.answer()
        assert (found.json["body"], found.interim) == ("hello", [])


@pytest.mark.parametrize("expect", ["Expect: 200-ok", "Expect: 100-continue, x", "Expect: x=y"])
def test_an_unknown_expectation_fails(server: Server, expect: str) -> None:
    with Client(server.port) as client:
        assert client.ask(request("POST", "/generic/request", expect, "Content-Length: 5")).status == 417
        assert client.over()


def test_who_is_refused_is_not_asked_for_the_body(strict: Server) -> None:
    """The body does not come then, so the connection is at its end, unless the client sends it after all."""
    refusals = [
        (request("POST", "/generic/request", EXPECT, f"Content-Length: {MAX + 1}"), 413),
        (request("POST", "/api/publish", EXPECT, "Content-Length: 1000", "X-API-Key: wrong"), 401),
        (request("POST", "/api/publish", EXPECT, "Content-Length: 1000"), 401),
    ]
    for data, status in refusals:
        with Client(strict.port) as client:
            found = client.ask(data)
            assert (found.status, found.interim) == (status, [])
            client.send(get("/generic/request"))
            assert client.answer().status in (0, 400), "the next bytes are the body that was announced, or nothing"


# The bound


@pytest.mark.parametrize("path", ["/generic/sink", "/http/body", "/nowhere", "/admin/login/", "/api/publish", "/"])
@pytest.mark.parametrize("form", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "x/y"])
def test_a_body_above_the_bound_is_refused_at_the_head(strict: Server, path: str, form: str) -> None:
    with Client(strict.port) as client:
        client.send(
            request("POST", path, f"Content-Type: {form}", f"Content-Length: {MAX + 1}", f"X-API-Key: {API_KEY}")
        )
        found = client.answer()
        assert (found.status, found["connection"].lower()) == (413, "close")
        assert client.over()


@pytest.mark.parametrize("size", [10**12, 2**63, 2**64, 10**30])
def test_lengths_beyond_all_measure_are_refused_too(strict: Server, size: int) -> None:
    with Client(strict.port) as client:
        assert client.ask(request("POST", "/generic/sink", f"Content-Length: {size}")).status in (400, 413)
        assert client.over()


@pytest.mark.parametrize(
    "sizes", [[100_000] * 20, [MAX + 1], [2 * MAX], [1] * 300_000], ids=["many", "one", "big", "tiny"]
)
def test_chunks_above_the_bound_are_refused_there(strict: Server, sizes: list[int]) -> None:
    """`tiny`: what stands around the bytes of a body is not free."""
    data = request("POST", "/generic/sink", "Transfer-Encoding: chunked")
    data += b"".join(b"%x\r\n%b\r\n" % (size, b"x" * size) for size in sizes)
    with Client(strict.port) as client:
        client.send(data + b"0\r\n\r\n")
        found = client.answer()
        assert found.status == (200 if sum(sizes) <= MAX else 413)
        assert found.status == 200 or client.over()


def test_a_body_at_the_bound_is_taken(strict: Server) -> None:
    with Client(strict.port) as client:
        assert client.ask(request("POST", "/generic/sink", body=b"x" * MAX)).json["size"] == MAX
        assert client.ask(chunked(b"x" * MAX, path="/generic/sink")).json["size"] == MAX


def test_the_client_that_goes_on_sending_hears_why_it_was_refused(strict: Server) -> None:
    """A reset while it writes would throw the answer away."""
    with Client(strict.port) as client:
        found = client.ask(request("POST", "/generic/sink", body=b"x" * (3 * MAX)))
        assert found.status == 413


def test_ten_megabytes_are_the_bound_unless_it_is_set(server: Server) -> None:
    with Client(server.port) as client:
        found = client.ask(request("POST", "/generic/sink", f"Content-Length: {11 * 1024 * 1024}"))
        assert found.status == 413
    with Client(server.port) as client:
        assert client.ask(request("POST", "/generic/sink", body=b"x" * 9_000_000)).json["size"] == 9_000_000


# Forms are Django's


def test_forms_reach_django_whole(server: Server) -> None:
    with Client(server.port) as client:
        form = "Content-Type: application/x-www-form-urlencoded"
        told = client.ask(request("POST", "/http/body", form, body=b"a=1&b=%C3%A4&a=2&=x")).json
        assert told["form"] == {"a": "2", "b": "ä", "": "x"}


def test_files_reach_django_whole(server: Server) -> None:
    part = (
        b'--x\r\nContent-Disposition: form-data; name="up"; filename="a.bin"\r\n\r\n'
        + b"z" * 4_000_000
        + b"\r\n--x--\r\n"
    )
    with Client(server.port) as client:
        told = client.ask(
            request("POST", "/http/body", "Content-Type: multipart/form-data; boundary=x", body=part)
        ).json
        assert told["files"] == {"up": 4_000_000}
        assert client.ask(get()).status == 200


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=", b"--\r\n\r\n"),
        ("multipart/form-data; boundary=\xff", b"x"),
        ("multipart/form-data; boundary=x", b"--x\r\nno header\r\n\r\n--x"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!\r\n--x--"),
        ("application/x-www-form-urlencoded; charset=nonsense", b"a=1"),
        ("application/x-www-form-urlencoded", b"%ff=%00&&&===" * 50),
        ("application/x-www-form-urlencoded", b"a&" * 5000),
    ],
)
def test_forms_that_are_none_are_the_client_s_fault(server: Server, kind: str, body: bytes) -> None:
    with Client(server.port) as client:
        assert client.ask(request("POST", "/http/body", f"Content-Type: {kind}", body=body)).status in (200, 400, 415)
        assert client.ask(get()).status == 200
    assert "Traceback" not in server.log.read_text()


def test_the_api_refuses_a_wrong_key_before_the_body_is_there(server: Server) -> None:
    head: dict[str, Any] = {"method": "POST", "path": "/api/publish"}
    for more in ((), ("X-API-Key: wrong",), ("Authorization: apikey wrong",)):
        with Client(server.port) as client:
            client.send(request(*head.values(), "Content-Type: application/json", "Content-Length: 5000", *more))
            assert client.answer().status == 401


def test_an_upload_that_ends_in_the_middle_leaves_nothing(server: Server) -> None:
    before = len(seen(server))
    for _ in range(20):
        with Client(server.port) as client:
            client.send(request("POST", "/generic/sink", "Content-Length: 5000000", body=b"x" * 2_000_000))
            client.reset()
    wait_until(lambda: server.ask("census")["undecided"] <= 1, "they are forgotten", PATIENCE)
    assert all("sink lost" in one or "without" in one for one in seen(server)[before:])
