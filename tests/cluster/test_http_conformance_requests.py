"""RFC 9110 and 9112, what a request may be: its line, its target, its headers, its framing. Each wrong one is refused
with a status and the connection closed, so that nothing behind it is taken for a request (request smuggling).
"""

import json

import pytest

from tests.cluster.support.generic_server import Server, upgrade
from tests.cluster.support.http_client import HOST, Client, chunked, get, request
from tests.cluster.support.raw_client import token
from tests.raw_frames import TEXT, frame

BEHIND = get("/generic/smuggled")
CL = "Content-Length: 5"
TE = "Transfer-Encoding: chunked"
HELLO = b"hello"
CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"


def lines(*more: str) -> bytes:
    """A GET with these lines behind its Host."""
    return get("/generic/request", HOST, *more)


FRAMING = {
    "length and chunks": request("POST", "/generic/request", CL, TE, body=CHUNKS),
    "chunks and length": request("POST", "/generic/request", TE, CL, body=CHUNKS),
    "two lengths": request("POST", "/generic/request", CL, "Content-Length: 6", body=HELLO),
    "a list of lengths": request("POST", "/generic/request", "Content-Length: 5, 6", body=HELLO),
    "a negative length": request("POST", "/generic/request", "Content-Length: -5", body=HELLO),
    "a length with a sign": request("POST", "/generic/request", "Content-Length: +5", body=HELLO),
    "a length in hex": request("POST", "/generic/request", "Content-Length: 0x5", body=HELLO),
    "a length with an underscore": request("POST", "/generic/request", "Content-Length: 0_5", body=HELLO),
    "a length with letters": request("POST", "/generic/request", "Content-Length: 5a", body=HELLO),
    "a length in two words": request("POST", "/generic/request", "Content-Length: 5 5", body=HELLO),
    "a length of other digits": request("POST", "/generic/request", "Content-Length: \xb2", body=HELLO),
    "an empty length": request("POST", "/generic/request", "Content-Length: ", body=HELLO),
    "xchunked": request("POST", "/generic/request", "Transfer-Encoding: xchunked", body=CHUNKS),
    "chunked, identity": request("POST", "/generic/request", "Transfer-Encoding: chunked, identity", body=CHUNKS),
    "identity": request("POST", "/generic/request", "Transfer-Encoding: identity", body=CHUNKS),
    "gzip, chunked": request("POST", "/generic/request", "Transfer-Encoding: gzip, chunked", body=CHUNKS),
    "chunked twice": request("POST", "/generic/request", "Transfer-Encoding: chunked, chunked", body=CHUNKS),
    "chunked in two lines": request("POST", "/generic/request", TE, TE, body=CHUNKS),
    "chunked and another line": request("POST", "/generic/request", TE, "Transfer-Encoding: x", body=CHUNKS),
    "an odd blank": request("POST", "/generic/request", "Transfer-Encoding:\x0bchunked", body=CHUNKS),
    "quotes": request("POST", "/generic/request", 'Transfer-Encoding: "chunked"', body=CHUNKS),
    "an empty encoding": request("POST", "/generic/request", "Transfer-Encoding: ", CL, body=HELLO),
    "chunks of 1.0": request("POST", "/generic/request", TE, body=CHUNKS, version="1.0"),
    "a blank before the colon": request("POST", "/generic/request", "Content-Length : 5", body=HELLO),
    "a blank before it": request("POST", "/generic/request", "Transfer-Encoding : chunked", body=CHUNKS),
    "a folded encoding": request("POST", "/generic/request", "Transfer-Encoding:", " chunked", body=CHUNKS),
    "a folded line": lines("X-One: a", " b: c"),
    "a folded line with a tab": lines("X-One: a", "\tContent-Length: 5"),
    "a first line that begins with a blank": get("/generic/request", " X-One: a", HOST),
    "no colon": lines("X-One"),
    "an empty name": lines(": x"),
    "a name with a blank": lines("X One: x"),
    "a name in brackets": lines("(X): x"),
    "a name that is not ASCII": lines("X-\xe4: x"),
    "a name with a NUL": lines("X\0: x"),
    "a name with a tab": lines("X\t: x"),
    "a value with a NUL": lines("X-One: a\0b"),
    "a value with a control character": lines("X-One: a\x01b"),
    "a value with DEL": lines("X-One: a\x7fb"),
    "a value with a carriage return": lines("X-One: a\rX-Two: b"),
    "bare line feeds": get("/generic/request").replace(b"\r\n", b"\n"),
    "a bare line feed between headers": lines("X-One: a\nX-Two: b"),
    "a bare line feed at the end": get("/generic/request")[:-2] + b"\n",
    "a bare line feed behind the request line": get("/generic/request").replace(b"HTTP/1.1\r\n", b"HTTP/1.1\n"),
}  # fmt: skip


@pytest.mark.parametrize("data", FRAMING.values(), ids=FRAMING)
@pytest.mark.parametrize("first", [True, False], ids=["first", "second"])
def test_framing_that_two_readers_could_take_differently_is_refused(server: Server, data: bytes, first: bool) -> None:
    """On a new connection as behind a request that was answered."""
    with Client(server.port) as client:
        if not first:
            assert client.ask(get()).status == 200
        found = client.ask(data + BEHIND)
        assert found.status in ((400, 501) if b"ransfer" in data else (400,))
        assert found.ended in ("length", "closed")
        assert client.over(), "what stands behind it was answered"


@pytest.mark.parametrize("more", [(CL, CL), ("Content-Length: 5, 5",), ("Content-Length: 00005",)])
def test_a_length_said_twice_is_refused_or_read_as_one(server: Server, more: tuple[str, ...]) -> None:
    with Client(server.port) as client:
        found = client.ask(request("POST", "/generic/request", *more, body=HELLO))
        if found.status == 200:
            assert found.json["body"] == "hello"
            assert client.ask(get()).status == 200
        else:
            assert found.status == 400
            assert client.over()


HOSTS = {
    "none": get().replace(b"Host: 127.0.0.1\r\n", b""),
    "two": get("/generic/request", HOST, HOST),
    "two different": get("/generic/request", HOST, "Host: evil.example"),
    "a blank": get("/generic/request", "Host: a b"),
    "a path": get("/generic/request", "Host: a/b"),
    "a user": get("/generic/request", "Host: a@b"),
    "a list": get("/generic/request", "Host: a, b"),
    "no port": get("/generic/request", "Host: a:b"),
    "an open bracket": get("/generic/request", "Host: [::1"),
}


@pytest.mark.parametrize("path", ["/generic/request", "/connection/websocket"])
@pytest.mark.parametrize("data", HOSTS.values(), ids=HOSTS)
def test_a_request_of_1_1_has_exactly_one_host_that_is_one(server: Server, data: bytes, path: str) -> None:
    with Client(server.port) as client:
        found = client.ask(data.replace(b"/generic/request", path.encode()))
        assert found.status == 400
        assert client.over()


@pytest.mark.parametrize(
    "host", [HOST, "Host: [::1]:8000", "Host: a.example:80", "Host: xn--bcher-kva.example", "Host: "]
)
def test_hosts_of_any_proper_form_reach_the_application(server: Server, host: str) -> None:
    with Client(server.port) as client:
        assert client.ask(get("/generic/request", host)).status == 200


@pytest.mark.parametrize("version", ["1.0"])
def test_http_1_0_needs_no_host(server: Server, version: str) -> None:
    with Client(server.port) as client:
        found = client.ask(get(version=version).replace(b"Host: 127.0.0.1\r\n", b""))
        assert found.json["http_version"] == "1.0"
        assert client.over()


TARGETS = {
    "/generic/request": ("/generic/request", "/generic/request", ""),
    "/generic/request?a=b&c=%20?": ("/generic/request", "/generic/request", "a=b&c=%20?"),
    "/generic/%72equest": ("/generic/request", "/generic/%72equest", ""),
    "/generic/%2572/request": ("/generic/%72/request", "/generic/%2572/request", ""),
    "/generic/%C3%A4/request": ("/generic/ä/request", "/generic/%C3%A4/request", ""),
    "/generic//request": ("/generic//request", "/generic//request", ""),
    "/generic/a;b=c,d/request": ("/generic/a;b=c,d/request", "/generic/a;b=c,d/request", ""),
    "/generic/../generic/request": ("/generic/../generic/request", "/generic/../generic/request", ""),
    "http://127.0.0.1/generic/request?x": ("/generic/request", "/generic/request", "x"),
    "HTTP://127.0.0.1:8000/generic/request": ("/generic/request", "/generic/request", ""),
}


@pytest.mark.parametrize("target", TARGETS)
def test_targets_are_taken_as_they_are_meant(server: Server, target: str) -> None:
    path, raw_path, query = TARGETS[target]
    with Client(server.port) as client:
        told = client.ask(get(target)).json
    assert (told["path"], told["raw_path"], told["query"]) == (path, raw_path, query)


def test_the_host_of_an_absolute_target_is_the_one_that_counts(server: Server) -> None:
    with Client(server.port) as client:
        found = client.ask(get("http://127.0.0.1/http/host?x", "Host: evil.example"))
        assert found.status == 400 or found.json["host"] == "127.0.0.1"
    with Client(server.port) as client:
        assert client.ask(get("http://evil.example/http/host", HOST)).status == 400


WRONG_TARGETS = ("generic/request", "", "*", "http://", "http:///generic/request", "ftp://127.0.0.1/generic/request",
                 "127.0.0.1:80", "/generic/\xe4/request", "/generic/request\x7f", "/generic/a b/request",
                 "/generic/\0/request", "/generic/a\tb/request", "?x")  # fmt: skip


@pytest.mark.parametrize("target", WRONG_TARGETS)
def test_what_is_no_target_is_refused(server: Server, target: str) -> None:
    with Client(server.port) as client:
        assert client.ask(get(target) + BEHIND).status == 400
        assert client.over()


@pytest.mark.parametrize(
    "path", ["/%ff", "/http/%ff", "/http/%00", "/http/host?%ff=%00", "/%", "/%zz", "//", "/http/host?a=%"]
)
def test_odd_paths_have_their_answer_and_leave_no_traceback(server: Server, path: str) -> None:
    with Client(server.port) as client:
        assert client.ask(get(path)).status in (200, 301, 400, 404)
    assert "Traceback" not in server.log.read_text()


def test_options_of_the_whole_server_are_answered(server: Server) -> None:
    with Client(server.port) as client:
        assert client.ask(get("*", method="OPTIONS")).status in (200, 204, 400, 404, 405)
    with Client(server.port) as client:
        assert client.ask(get(method="OPTIONS")).json["method"] == "OPTIONS"


@pytest.mark.parametrize("target", ["127.0.0.1:80", "/generic/request"])
def test_nothing_is_tunnelled(server: Server, target: str) -> None:
    with Client(server.port) as client:
        assert client.ask(get(target, method="CONNECT") + BEHIND).status in (400, 405, 501)
        assert client.over()


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "PROPFIND", "QUERY", "BREW", "get", "X-!#$%&'*+.^_`|~9"])
def test_methods_of_any_name_reach_the_application_or_are_not_implemented(server: Server, method: str) -> None:
    with Client(server.port) as client:
        found = client.ask(get(method=method))
        assert found.status in (405, 501) or found.json["method"] == method


@pytest.mark.parametrize("method", ["", "G T", "GET(", "G\xe4T", "GET\0", "{}", " GET"])
def test_what_is_no_method_is_refused(server: Server, method: str) -> None:
    with Client(server.port) as client:
        assert client.ask(get(method=method) + BEHIND).status == 400
        assert client.over()


@pytest.mark.parametrize(
    ("line", "statuses"),
    [
        (b"GET /generic/request", (400, 505)),  # HTTP/0.9
        (b"GET /generic/request HTTP/0.9", (400, 505)),
        (b"GET /generic/request HTTP/2.0", (400, 505)),
        (b"GET /generic/request HTTP/1.2", (200, 400, 505)),
        (b"GET /generic/request HTTP/11", (400, 505)),
        (b"GET /generic/request HTTP/1.10", (400, 505)),
        (b"GET /generic/request HTTP/+1.1", (400, 505)),
        (b"GET /generic/request http/1.1", (400, 505)),
        (b"GET /generic/request HTTPS/1.1", (400, 505)),
        (b"GET /generic/request  HTTP/1.1", (400,)),
        (b"GET  /generic/request HTTP/1.1", (400,)),
        (b"GET /generic/request HTTP/1.1 ", (400,)),
        (b"GET\t/generic/request\tHTTP/1.1", (400,)),
        (b"GET /generic/request HTTP/1.1 x", (400,)),
        (b"GET", (400,)),
        (b"PRI * HTTP/2.0", (400, 505)),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", (400,)),  # TLS
        (b"SSH-2.0-OpenSSH_9.7", (400,)),
    ],
)
def test_request_lines_of_other_kinds_are_refused(server: Server, line: bytes, statuses: tuple[int, ...]) -> None:
    with Client(server.port) as client:
        found = client.ask(line + b"\r\nHost: 127.0.0.1\r\n\r\n")
        assert found.status in statuses
        assert found.status == 200 or client.over()


def test_empty_lines_before_a_request_are_passed_over(server: Server) -> None:
    with Client(server.port) as client:
        assert client.ask(b"\r\n" + get()).status == 200
        assert client.ask(b"\r\n" + get()).status == 200


def test_empty_lines_without_end_are_not(server: Server) -> None:
    with Client(server.port) as client:
        client.send(b"\r\n" * 100_000)
        assert client.answer().status in (0, 400, 431)
        assert client.over()


def test_headers_come_to_the_application_as_they_were_sent(server: Server) -> None:
    with Client(server.port) as client:
        more = (
            "X-Case: MiXed",
            "x-blank:   a b \t",
            "X-Empty:",
            "X-Latin: \xe4",
            "Accept: a",
            "Accept: b",
            "X_Under: 1",
        )
        headers = client.ask(get("/generic/request", HOST, *more)).json["headers"]
    assert ["x-case", "MiXed"] in headers
    assert ["x-blank", "a b"] in headers
    assert ["x-empty", ""] in headers
    assert ["x-latin", "\xe4"] in headers
    assert ",".join(value for name, value in headers if name == "accept").replace(" ", "") == "a,b"
    assert "x_under" not in dict(headers), "Django would take it for a header with a dash"


@pytest.mark.parametrize("header", ["Daphne-Root-Path", "daphne-root-path", "DAPHNE-ROOT-PATH"])
@pytest.mark.parametrize("value", ["/foo", "/generic", "%ff", "/http/host"])
def test_a_client_does_not_say_where_the_site_begins(server: Server, header: str, value: str) -> None:
    with Client(server.port) as client:
        told = client.ask(get("/generic/request", HOST, f"{header}: {value}")).json
        assert told["root_path"] == ""
        assert told["path"] == "/generic/request"
        assert client.ask(get("/http/host", HOST, f"{header}: {value}")).json["path"] == "/http/host"
    with Client(server.port) as client:
        client.open("/generic/echo", f"{header}: {value}")
        client.send(frame(TEXT, b"scope"))
        opcode, payload = client.frame() or (0, b"")
        assert json.loads(payload)["root_path"] == ""
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("size", [8_000, 16_000, 20_000, 30_000])
def test_a_long_cookie_serves_page_and_socket(server: Server, size: int) -> None:
    cookie = f"Cookie: a={'x' * size}"
    with Client(server.port) as client:
        assert len(client.ask(get("/generic/request", HOST, cookie)).json["headers"][1][1]) == size + 2
        assert client.ask(get("/http/cookies", HOST, cookie)).json == {"a": "x" * size}
        assert client.ask(upgrade("/generic/echo", cookie)).status == 101
    with Client(server.port) as client:
        assert client.ask(upgrade("/generic/echo", cookie)).status == 101


HUGE = "x" * 200_000


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "BREW"])
@pytest.mark.parametrize("second", [False, True])
def test_too_long_a_target_is_414(server: Server, method: str, second: bool) -> None:
    with Client(server.port) as client:
        if second:
            client.ask(get())
        assert client.ask(get(f"/generic/{HUGE}", method=method)).status == 414
        assert client.over()
    assert "414" in server.log.read_text() or "too long" in server.log.read_text().lower()


@pytest.mark.parametrize("more", [f"Cookie: {HUGE}", f"{HUGE}: a", "\r\n".join(f"X-{n}: {n}" for n in range(20_000))])
@pytest.mark.parametrize("data", [get(), upgrade(), get(method="BREW")], ids=["page", "socket", "other"])
def test_too_long_headers_are_431(server: Server, more: str, data: bytes) -> None:
    with Client(server.port) as client:
        assert client.ask(data[:-2] + more.encode() + b"\r\n\r\n").status == 431
        assert client.over()
    assert "431" in server.log.read_text() or "too long" in server.log.read_text().lower()


def test_headers_without_number_cost_no_more_than_their_bytes(server: Server) -> None:
    """Ten thousand of three bytes each."""
    with Client(server.port) as client:
        more = "".join(f"{chr(97 + n % 26)}:\r\n" for n in range(10_000))
        assert client.ask(get()[:-2] + more.encode() + b"\r\n").status in (200, 431)


def test_two_cookie_headers_mean_the_same_to_page_and_socket(server: Server) -> None:
    both = ("Cookie: a=1; b=2", "Cookie: c=3")
    with Client(server.port) as client:
        page = client.ask(get("/http/cookies", HOST, *both)).json
        client.open("/generic/cookies", *both)
        opcode, payload = client.frame() or (0, b"")
    assert page == json.loads(payload) == {"a": "1", "b": "2", "c": "3"}


WEBSOCKET = "/connection/websocket"


@pytest.mark.parametrize("path", [WEBSOCKET, f"{WEBSOCKET}?x=1"])
@pytest.mark.parametrize("more", [(), ("Connection: close",), ("Connection: Upgrade",)])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_handshake_without_its_upgrade_is_told_so(
    server: Server, path: str, more: tuple[str, ...], version: str
) -> None:
    """What comes of a proxy that does not pass `Upgrade` on; some speak HTTP/1.0 by default."""
    handshake = ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==")
    with Client(server.port) as client:
        found = client.ask(get(path, HOST, *handshake, *more, version=version))
    assert found.status == 426
    assert found["upgrade"].lower() == "websocket"
    assert "upgrade" in found["connection"].lower()
    assert b"proxy" in found.body.lower() and b"Upgrade" in found.body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_other_methods_on_the_path_of_the_sockets_are_no_fault_of_the_server(server: Server, method: str) -> None:
    with Client(server.port) as client:
        assert 400 <= client.ask(get(WEBSOCKET, method=method)).status < 500


@pytest.mark.parametrize("path", [WEBSOCKET, "/generic/echo"])
@pytest.mark.parametrize(
    ("more", "body"),
    [((CL,), HELLO), ((TE,), CHUNKS), ((TE,), b""), (("Content-Length: 5", TE), CHUNKS), (("Content-Length: x",), b"")],
)
def test_a_handshake_with_a_body_is_refused(server: Server, path: str, more: tuple[str, ...], body: bytes) -> None:
    with Client(server.port) as client:
        found = client.ask(upgrade(path, *more) + body)
        assert 400 <= found.status < 500
        assert client.over()


def test_a_handshake_that_says_it_has_no_body_is_served(server: Server) -> None:
    with Client(server.port) as client:
        client.open("/generic/echo", "Content-Length: 0")


WRONG_HANDSHAKES = [
    *((name, data) for name, data in FRAMING.items() if data.startswith(b"GET") and b"X-" in data),
]


@pytest.mark.parametrize("data", [data for _, data in WRONG_HANDSHAKES], ids=[name for name, _ in WRONG_HANDSHAKES])
def test_headers_of_a_handshake_are_read_as_strictly(server: Server, data: bytes) -> None:
    handshake = upgrade("/generic/echo")[:-4].partition(b"\r\nHost: 127.0.0.1")[2]
    with Client(server.port) as client:
        assert client.ask(data[:-4] + handshake + b"\r\n\r\n").status == 400
        assert client.over()


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        ("Version: 13", "Version: 8", 426),
        ("Upgrade: websocket", "Upgrade: h2c, websocket", 101),
        ("Connection: Upgrade", "Connection: keep-alive, Upgrade", 101),
        ("Upgrade: websocket", "Upgrade: h2c", 426),
        ("Sec-WebSocket-Key", "Sec-WebSocket-Kay", 400),
        ("Host: 127.0.0.1\r\n", "", 400),
        ("Host: 127.0.0.1", "Host: 127.0.0.1\r\nHost: b", 400),
    ],
)
def test_handshakes_are_read_by_the_letter(server: Server, old: str, new: str, status: int) -> None:
    with Client(server.port) as client:
        assert client.ask(upgrade().replace(old.encode(), new.encode())).status == status


def test_the_product_s_own_socket_opens_behind_requests(server: Server) -> None:
    with Client(server.port) as client:
        for data in (get(), chunked(b"hello"), get("/health/live")):
            assert client.ask(data).status == 200
        client.open(WEBSOCKET)
        client.send(frame(TEXT, json.dumps({"id": 1, "connect": {"token": token("7")}}).encode()))
        opcode, payload = client.frame() or (0, b"")
        assert json.loads(payload)["id"] == 1
