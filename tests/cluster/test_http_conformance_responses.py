"""RFC 9110 and 9112, what a response may be: bodies and none, conditions, ends that are true, connections that stay."""

import ssl
import time
from collections.abc import Iterator
from email.utils import formatdate, parsedate_to_datetime

import pytest

from tests.cluster.support.generic_server import Server
from tests.cluster.support.harness import CONFIG
from tests.cluster.support.http_client import HOST, Client, chunked, get, lasts, one_server, request, seen
from tests.cluster.support.processes import PATIENCE, wait_until

TIMEOUT = 2  # seconds until a response must have begun, in the tests of time
STATIC = "/static/realtime/admin/live.js"
BODIES = {
    "an application": "/generic/sink",
    "one without length": "/generic/events",
    "a large one": "/generic/source?size=3000000",
    "a large one without length": "/generic/source?size=3000000&known=0",
    "a file": "/http/file",
    "a file with conditions": "/http/served",
    "a stream of Django's": "/http/streamed",
    "a static file": STATIC,
    "a page": "/",
    "health": "/health/live",
    "not found": "/nowhere",
    "not found below static": "/static/nowhere.js",
    "a fault": "/http/broken",
    "a fault before the start": "/generic/fails",
    "a redirect": "/admin",
    "a method that is not allowed": "/api/info",
    "the path of the sockets": "/connection/websocket",
    "a teapot": "/generic/status?code=418",
}


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An instance where responses must begin soon."""
    with one_server(tmp_path_factory.mktemp("hasty"), CONFIG, HTTP_TIMEOUT=str(TIMEOUT)) as made:
        yield made


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("path", BODIES.values(), ids=BODIES)
def test_head_sends_no_body_and_the_next_response_is_right(server: Server, path: str, tls: bool) -> None:
    """Its headers are those of a GET, where a GET has a length."""
    with Client(server.tls_port if tls else server.port, tls=tls) as client:
        head = client.ask(get(path, method="HEAD"))
        if head["connection"].lower() == "close":
            assert client.over()
        else:
            assert client.ask(get()).json["method"] == "GET"
    with Client(server.tls_port if tls else server.port, tls=tls) as client:
        full = client.ask(get(path))
    assert head.status == full.status
    if full["content-length"]:
        assert head["content-length"] in (full["content-length"], "")
    if head["content-length"]:
        assert int(head["content-length"]) == len(full.body)


def test_many_heads_in_one_go(server: Server) -> None:
    paths = [path for path in BODIES.values() if path.startswith(("/generic/e", "/generic/s", "/http/f", STATIC))]
    with Client(server.port) as client:
        client.send(b"".join(get(path, method="HEAD") + get(path) for path in paths))
        for _ in paths:
            assert client.answer(head=True).status == client.answer().status


@pytest.mark.parametrize("code", [204, 304])
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_a_status_without_a_body_has_none(server: Server, code: int, method: str) -> None:
    """Whatever the application gave."""
    with Client(server.port) as client:
        found = client.ask(get(f"/generic/status?code={code}", method=method))
        assert found.status == code
        assert not found["transfer-encoding"]
        assert code != 204 or not found["content-length"]
        assert client.ask(get()).json["method"] == "GET"


def test_a_205_has_no_body_either(server: Server) -> None:
    with Client(server.port) as client:
        assert client.ask(get("/generic/status?code=205")).body in (b"", b"a body")
        assert client.ask(get()).status == 200


@pytest.mark.parametrize(
    ("code", "phrase"),
    [
        *(
            (200, "OK"),
            (201, "Created"),
            (307, "Temporary Redirect"),
            (308, "Permanent Redirect"),
            (400, "Bad Request"),
        ),
        *(
            (422, "Unprocessable Entity|Unprocessable Content"),
            (426, "Upgrade Required"),
            (428, "Precondition Required"),
        ),
        *((429, "Too Many Requests"), (431, "Request Header Fields Too Large"), (451, "Unavailable For Legal Reasons")),
        *((503, "Service Unavailable"), (511, "Network Authentication Required")),
    ],
)
def test_statuses_have_their_phrases(server: Server, code: int, phrase: str) -> None:
    with Client(server.port) as client:
        found = client.ask(get(f"/generic/status?code={code}"))
    assert (found.status, found.body) == (code, b"a body")
    assert found.phrase in phrase.split("|")


@pytest.mark.parametrize("code", [299, 499, 599, 999])
def test_statuses_that_nobody_knows_are_carried(server: Server, code: int) -> None:
    with Client(server.port) as client:
        assert client.ask(get(f"/generic/status?code={code}")).status in (code, 500)


def test_a_rate_limited_page_says_so_by_name(server: Server) -> None:
    with Client(server.port) as client:
        found = [client.ask(get("/decorated")) for _ in range(5)][-1]
    assert (found.status, found.phrase) == (429, "Too Many Requests")


@pytest.mark.parametrize("path", ["/generic/events", "/generic/source?known=0", "/http/streamed"])
def test_what_has_no_length_comes_in_chunks(server: Server, path: str) -> None:
    with Client(server.port) as client:
        assert client.ask(get(path)).ended == "chunked"
        assert client.ask(get()).status == 200


@pytest.mark.parametrize("path", ["/generic/events", "/generic/source?known=0", "/http/streamed", "/generic/request"])
@pytest.mark.parametrize("more", [(), ("Connection: keep-alive",)])
def test_http_1_0_gets_no_chunks(server: Server, path: str, more: tuple[str, ...]) -> None:
    with Client(server.port) as client:
        found = client.ask(get(path, *more, version="1.0"))
        assert found.status == 200
        assert not found["transfer-encoding"]
        if found.ended == "length" and found["connection"].lower() == "keep-alive":
            assert client.ask(get()).status == 200
        else:
            assert client.over()


def test_every_response_has_one_date(server: Server) -> None:
    for path in ("/generic/request", "/", STATIC, "/nowhere", "/health/live", "/generic/events"):
        with Client(server.port) as client:
            date = client.ask(get(path))["date"]
            assert abs(parsedate_to_datetime(date).timestamp() - time.time()) < PATIENCE


# Conditions and ranges


def test_a_static_file_is_not_sent_again_to_who_has_it(server: Server) -> None:
    with Client(server.port) as client:
        found = client.ask(get(STATIC))
        assert found["last-modified"]
        again = client.ask(get(STATIC, HOST, f"If-Modified-Since: {found['last-modified']}"))
        assert (again.status, again["transfer-encoding"]) == (304, "")
        older = formatdate(parsedate_to_datetime(found["last-modified"]).timestamp() - 60, usegmt=True)
        assert client.ask(get(STATIC, HOST, f"If-Modified-Since: {older}")).body == found.body
        if found["etag"]:
            assert client.ask(get(STATIC, HOST, f"If-None-Match: {found['etag']}")).status == 304
            assert client.ask(get(STATIC, HOST, 'If-None-Match: "other"')).body == found.body


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_conditions_of_django_s_own_views_hold(server: Server, method: str) -> None:
    with Client(server.port) as client:
        for one in ('"the one"', 'W/"the one"', '"other", "the one"', "*"):
            found = client.ask(get("/http/tagged", HOST, f"If-None-Match: {one}", method=method))
            assert (found.status, found["etag"]) == (304, '"the one"')
        assert client.ask(get("/http/tagged", HOST, 'If-Match: "other"')).status == 412
        assert client.ask(get("/http/tagged", HOST, 'If-None-Match: "other"')).body == b"tagged"
        full = client.ask(get("/http/served"))
        assert client.ask(get("/http/served", HOST, f"If-Modified-Since: {full['last-modified']}")).status == 304
        assert client.ask(get()).status == 200


@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [("0-1", 0, 1), ("0-99", 0, 99), ("100-", 100, None), ("-100", -100, None), ("5-1000000000", 5, None)],
)
def test_a_range_of_a_static_file(server: Server, wanted: str, first: int, last: int | None) -> None:
    with Client(server.port) as client:
        full = client.ask(get(STATIC)).body
        found = client.ask(get(STATIC, HOST, f"Range: bytes={wanted}"))
        assert found.status == 206
        assert found.body == full[first : None if last is None else last + 1]
        begins = first % len(full)
        assert found["content-range"] == f"bytes {begins}-{begins + len(found.body) - 1}/{len(full)}"
        head = client.ask(get(STATIC, HOST, f"Range: bytes={wanted}", method="HEAD"))
        assert head.status in (200, 206)
        assert client.ask(get()).status == 200


@pytest.mark.parametrize("wanted", ["bytes=1000000000-", "bytes=5-2", "bytes=x", "lines=1-2", "bytes="])
def test_a_range_that_cannot_be_is_416_or_the_whole(server: Server, wanted: str) -> None:
    with Client(server.port) as client:
        full = client.ask(get(STATIC))
        found = client.ask(get(STATIC, HOST, f"Range: {wanted}"))
        assert found.status == 416 or (found.status, found.body) == (200, full.body)
        if found.status == 416:
            assert found["content-range"] in ("", f"bytes */{len(full.body)}")
        assert client.ask(get()).status == 200


def test_many_ranges_cost_no_more_than_the_whole(server: Server) -> None:
    with Client(server.port) as client:
        full = client.ask(get(STATIC)).body
        many = ",".join("0-" for _ in range(1500))
        found = client.ask(get(STATIC, HOST, f"Range: bytes={many}"))
        assert found.status in (200, 206, 400, 416)
        assert len(found.body) <= len(full) + 1000


@pytest.mark.parametrize("path", ["/http/file", "/http/served"])
def test_files_of_django_come_whole(server: Server, path: str) -> None:
    """Django knows no ranges: it answers with the whole, which is right."""
    content = b"".join(b"line %06d of the file\n" % index for index in range(5000))
    with Client(server.port) as client:
        for more in ((), ("Range: bytes=0-99",)):
            found = client.ask(get(path, HOST, *more))
            assert (found.status, found.body, found.ended) == (200, content, "length")


# Ends


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("name", ["breaks", "returns"])
def test_a_response_that_broke_off_never_ends_properly(server: Server, name: str, version: str, tls: bool) -> None:
    """Without a length and without chunks only a reset tells; one may take with it what was sent before."""
    with Client(server.tls_port if tls else server.port, tls=tls) as client:
        if version == "1.1":
            found = client.ask(get(f"/generic/{name}") + get())
            assert found.status == 0 or found.ended == "cut"
            assert b"half of it".startswith(found.body)
        else:
            if isinstance(client.socket, ssl.SSLSocket):
                client.socket.suppress_ragged_eofs = False
            client.send(get(f"/generic/{name}", version=version))
            with pytest.raises(OSError):
                while client.socket.recv(1000):
                    pass


def test_a_response_shorter_than_it_said_is_cut(server: Server) -> None:
    with Client(server.port) as client:
        found = client.ask(get("/generic/short") + get())
        assert (found.status, found.body, found.ended) in (
            (200, b"12345", "cut"),
            (0, b"", "empty"),
            (500, b"", "length"),
        )
        assert found.status == 500 or client.over()


def test_a_response_longer_than_it_said_is_not(server: Server) -> None:
    with Client(server.port) as client:
        found = client.ask(get("/generic/long") + get())
        if found.status == 200:
            assert found.body == b"12345" if found.ended == "length" else found.ended == "cut"
        rest = client.rest()
        assert not rest or rest.startswith(b"HTTP/1.1 200 OK\r\n")


def test_an_application_that_fails_at_once_is_a_500(server: Server) -> None:
    with Client(server.port) as client:
        found = client.ask(get("/generic/fails"))
        assert (found.status, found.phrase) == (500, "Internal Server Error")
        assert b"RuntimeError" not in found.body


def test_a_header_cannot_be_split(server: Server) -> None:
    with Client(server.port) as client:
        found = client.ask(get("/generic/splits"))
        assert found.status in (0, 500)
        assert not found["x-evil"]


@pytest.mark.parametrize("path", ["/generic/events?count=8&pause=0.5", "/http/streamed?count=8&pause=0.5"])
def test_a_response_that_takes_longer_than_the_limit_comes_whole(hasty: Server, path: str) -> None:
    with Client(hasty.port) as client:
        found = client.ask(get(path))
        assert (found.status, found.ended, found.body.count(b"\n")) == (200, "chunked", 9 if "events" in path else 8)
        assert client.ask(get()).status == 200


def test_a_reader_that_takes_its_time_gets_everything(hasty: Server) -> None:
    """Three times the limit, at a steady pace."""
    size = 12_000_000
    with Client(hasty.port, receive_buffer=65536) as client:
        client.send(get(f"/generic/source?size={size}"))
        head = client.head()
        assert head.startswith(b"HTTP/1.1 200 ")
        body = bytearray()
        for since in lasts(3 * TIMEOUT):
            while len(body) < size * since / (3 * TIMEOUT):
                body += client.take(10_000)
            time.sleep(0.01)
        while len(body) < size and (more := client.take(min(65536, size - len(body)))):
            body += more
        assert len(body) == size
        assert client.ask(get()).status == 200


@pytest.mark.parametrize("path", ["/generic/never", "/generic/later?pause=60"])
def test_a_response_that_does_not_begin_is_503(hasty: Server, path: str) -> None:
    before = len(seen(hasty))
    with Client(hasty.port) as client:
        assert client.ask(get(path)).status == 503
    if "never" in path:
        wait_until(lambda: seen(hasty)[before:], "the application was told", PATIENCE)


# Connections


def test_a_client_that_wants_the_connection_closed_gets_its_wish(server: Server) -> None:
    for more in ("Connection: close", "connection: Close", "Connection: x, close"):
        with Client(server.port) as client:
            found = client.ask(get("/generic/request", HOST, more) + get())
            assert found.status == 200
            assert found["connection"].lower() == "close"
            assert client.over(), "what stands behind it was answered"


def test_a_connection_of_1_0_ends_unless_it_was_asked_to_stay(server: Server) -> None:
    with Client(server.port) as client:
        assert client.ask(get(version="1.0") + get()).status == 200
        assert client.over()


def test_an_application_can_close_the_connection(server: Server) -> None:
    with Client(server.port) as client:
        found = client.ask(get("/generic/closing") + get())
        assert (found.status, found["connection"].lower(), found.body) == (200, "close", b"bye")
        assert client.over()


def test_a_connection_serves_hundreds_of_requests_of_every_kind(server: Server) -> None:
    kinds = (
        get(),
        get("/generic/events"),
        chunked(b"hello", b"again"),
        get("/nowhere"),
        request("POST", "/generic/sink", body=b"x" * 100_000),
        get(STATIC),
        get("/http/broken"),
    )
    with Client(server.port) as client:
        expected = [client.ask(data).status for data in kinds]
        for _ in range(30):
            assert [client.ask(data).status for data in kinds] == expected


def test_pipelined_requests_are_answered_in_their_order(server: Server) -> None:
    """The first one takes longest."""
    with Client(server.port) as client:
        client.send(get("/generic/later?pause=0.5") + b"".join(get(f"/generic/{n}/request") for n in range(50)))
        assert client.answer().body == b'"later"'
        assert [client.answer().json["path"] for _ in range(50)] == [f"/generic/{n}/request" for n in range(50)]


def test_one_request_of_a_connection_runs_at_a_time(server: Server) -> None:
    before = len(seen(server))
    with Client(server.port) as client:
        client.send(get("/generic/later?pause=0.5") + get("/generic/source?size=10"))
        time.sleep(0.2)
        assert seen(server)[before:] == []
        assert client.answer().body == b'"later"'
        assert len(client.answer().body) == 10


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(
    "data",
    [get(), request("POST", "/generic/request", body=b"hello"), chunked(b"hello"), get("/generic/later?pause=0.3")],
    ids=["get", "post", "chunks", "later"],
)
def test_a_half_closed_client_gets_its_answer(server: Server, data: bytes, tls: bool) -> None:
    with Client(server.tls_port if tls else server.port, tls=tls) as client:
        client.send(data)
        if tls:
            client.socket.settimeout(PATIENCE)
        else:
            client.socket.shutdown(1)
        assert client.answer().status == 200
        assert tls or client.over()


def test_a_half_closed_client_gets_the_answers_of_all_its_requests(server: Server) -> None:
    with Client(server.port) as client:
        client.send(get("/generic/later?pause=0.3") + get("/generic/source?size=3000000") + get())
        client.socket.shutdown(1)
        assert [client.answer().status for _ in range(3)] == [200, 200, 200]
        assert client.over()


def test_an_application_hears_that_its_client_is_gone(server: Server) -> None:
    before = len(seen(server))
    with Client(server.port) as client:
        client.send(get("/generic/never"))
        time.sleep(0.2)
        client.reset()
    wait_until(lambda: seen(server)[before:], "it was told", PATIENCE)
