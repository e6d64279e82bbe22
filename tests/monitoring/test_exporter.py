"""The metrics port, and strangers that hold it open: one thread, everything bounded, scrapes answered meanwhile."""

import gzip
import logging
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from flotilla.monitoring import scrapes
from flotilla.monitoring.exporter import Exporter, listen

PATIENCE = 30.0


@pytest.fixture
def exporter() -> Iterator[Exporter]:
    made = Exporter("127.0.0.1", 0)
    made.start()
    assert made.opened.wait(PATIENCE)
    yield made
    made.close()


def ask(exporter: Exporter, request: bytes) -> tuple[str, dict[str, str], bytes]:
    """Send a request; the status line, the headers by small name, and what follows, up to the end."""
    with socket.create_connection(("127.0.0.1", exporter.port), PATIENCE) as client:
        client.sendall(request)
        found = b""
        while data := client.recv(1 << 16):
            found += data
    head, _, body = found.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    return status, {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}, body


def scrape(exporter: Exporter, *headers: str) -> tuple[str, dict[str, str], bytes]:
    lines = ["GET /metrics HTTP/1.1", "Host: 127.0.0.1", *headers, "", ""]
    return ask(exporter, "\r\n".join(lines).encode())


def until_closed(clients: list[socket.socket], what: str) -> None:
    """Wait until the other side has closed all of some connections."""
    give_up = time.monotonic() + PATIENCE
    for one in clients:
        one.settimeout(max(0.1, give_up - time.monotonic()))
        with suppress(ConnectionError):
            assert one.recv(1) == b"", what


def silent(exporter: Exporter, stack: ExitStack, count: int, data: bytes = b"GET /metrics HT") -> list[socket.socket]:
    """Clients that have sent a part of a request."""
    clients = []
    for _ in range(count):
        client = stack.enter_context(socket.create_connection(("127.0.0.1", exporter.port), PATIENCE))
        client.sendall(data)
        clients.append(client)
    return clients


def test_metrics_are_served(exporter: Exporter) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{exporter.port}/metrics", timeout=PATIENCE) as response:
        assert response.headers["Content-Type"].startswith("text/plain")
        assert b"python_info" in response.read()


def test_they_are_compressed_for_those_who_say_so(exporter: Exporter) -> None:
    _, headers, body = scrape(exporter, "Accept-Encoding: gzip")
    assert headers["content-encoding"] == "gzip"
    assert int(headers["content-length"]) == len(body)
    assert b"python_info" in gzip.decompress(body)


def test_the_format_is_the_one_that_is_asked_for(exporter: Exporter) -> None:
    _, headers, body = scrape(exporter, "Accept: application/openmetrics-text; version=1.0.0")
    assert headers["content-type"].startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    assert body.count(b"python_info") > 0


def test_one_metric_can_be_asked_for(exporter: Exporter) -> None:
    _, _, body = ask(exporter, b"GET /metrics?name[]=python_info HTTP/1.0\r\n\r\n")
    assert [line.split(b"{")[0] for line in body.splitlines() if not line.startswith(b"#")] == [b"python_info"]


def test_head_has_the_length_and_no_body(exporter: Exporter) -> None:
    status, headers, body = ask(exporter, b"HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
    assert status == "HTTP/1.1 200 OK"
    assert int(headers["content-length"]) > 100
    assert body == b""


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"GET /metrics/ HTTP/1.1\r\n\r\n", 404),
        (b"GET /favicon.ico HTTP/1.1\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\na=b", 405),
        (b"OPTIONS /metrics HTTP/1.1\r\n\r\n", 405),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n" + b"a&" * 500_000, 405),
        (b"nonsense\r\n\r\n", 400),
        (b"\xff\xfe / HTTP/9\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 431),
    ],
)
def test_anything_else_is_refused(exporter: Exporter, request_head: bytes, status: int) -> None:
    line, headers, _ = ask(exporter, request_head)
    assert int(line.split()[1]) == status
    assert headers["connection"] == "close"
    if status == 405:
        assert headers["allow"] == "GET, HEAD"


def test_half_requests_hold_one_thread_and_nobody_up(exporter: Exporter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scrape is answered beside three hundred of them, and all are gone when their time is over."""
    monkeypatch.setattr(scrapes, "HEAD_WITHIN", 3.0)
    before = set(threading.enumerate())  # of which others may end meanwhile
    with ExitStack() as stack:
        clients = silent(exporter, stack, 300)
        status, _, body = scrape(exporter)
        assert status == "HTTP/1.1 200 OK"
        assert b"python_info" in body
        assert set(threading.enumerate()) <= before
        until_closed(clients, "their time is over")


def test_the_oldest_that_say_nothing_go_first(exporter: Exporter, monkeypatch: pytest.MonkeyPatch) -> None:
    """There are never more than a bound."""
    monkeypatch.setattr(scrapes, "MAX", 20)
    monkeypatch.setattr(scrapes, "HEAD_WITHIN", 3600)
    with ExitStack() as stack:
        clients = silent(exporter, stack, 50, b"")
        until_closed(clients[:30], "they had to give way")
        clients[-1].sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert clients[-1].recv(12) == b"HTTP/1.1 200"


@pytest.fixture
def big(monkeypatch: pytest.MonkeyPatch) -> int:
    """The size of an answer that no buffer of the kernel can take; it is given to those who send a query."""
    answer = scrapes.Answer(scrapes.HTTPStatus.OK, body=b"x" * (20 << 20))
    real = scrapes._metrics
    monkeypatch.setattr(scrapes, "_metrics", lambda query, *more: answer if query else real(query, *more))
    return len(answer.body)


def taken(client: socket.socket) -> int:
    """How much a client finds when it reads to the end."""
    found = 0
    with suppress(ConnectionError):
        while data := client.recv(1 << 20):
            found += len(data)
    return found


def test_answers_that_nobody_reads_are_bounded_in_number(
    exporter: Exporter, monkeypatch: pytest.MonkeyPatch, big: int
) -> None:
    monkeypatch.setattr(scrapes, "MAX_ANSWERS", 3)
    monkeypatch.setattr(scrapes, "TAKEN_WITHIN", 3600)
    with ExitStack() as stack:
        clients = silent(exporter, stack, 10, b"GET /metrics?big HTTP/1.1\r\n\r\n")
        assert scrape(exporter)[0] == "HTTP/1.1 200 OK"
        assert [taken(client) > big for client in clients[:7]] == [False] * 7, "they were cut off"
        assert taken(clients[-1]) > big, "the newest were not"


def test_answers_that_nobody_reads_are_bounded_in_time(
    exporter: Exporter, monkeypatch: pytest.MonkeyPatch, big: int
) -> None:
    monkeypatch.setattr(scrapes, "TAKEN_WITHIN", 0.0)
    with ExitStack() as stack:
        clients = silent(exporter, stack, 3, b"GET /metrics?big HTTP/1.1\r\n\r\n")
        assert scrape(exporter)[0] == "HTTP/1.1 200 OK"  # their time is over; who reads beside it may be given all
        assert not any(taken(client) > big for client in clients)


def test_a_slow_head_is_given_up(exporter: Exporter, monkeypatch: pytest.MonkeyPatch) -> None:
    """However steadily it comes."""
    monkeypatch.setattr(scrapes, "HEAD_WITHIN", 0.5)
    with ExitStack() as stack, pytest.raises(ConnectionError):
        (client,) = silent(exporter, stack, 1)
        give_up = time.monotonic() + PATIENCE
        while time.monotonic() < give_up:
            client.sendall(b"x")
            time.sleep(0.01)


def test_it_answers_while_the_process_is_busy(exporter: Exporter) -> None:
    """Its own thread does, with whatever the interpreter leaves it."""
    done = threading.Event()

    def attempt() -> None:
        assert scrape(exporter)[0] == "HTTP/1.1 200 OK"
        done.set()

    threading.Thread(target=attempt, daemon=True).start()
    give_up = time.monotonic() + PATIENCE
    while not done.is_set() and time.monotonic() < give_up:
        sum(range(1000))  # never waits for anything
    assert done.is_set()


def test_the_port_is_free_when_it_is_closed(exporter: Exporter) -> None:
    """Whoever is still connected."""
    with ExitStack() as stack:
        clients = silent(exporter, stack, 5)
        exporter.close()
        listen("127.0.0.1", exporter.port).close()
        until_closed(clients, "they were closed")


def test_a_port_that_is_taken_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "flotilla.monitoring.exporter")
    with listen("127.0.0.1", 0) as taken:
        made = Exporter("127.0.0.1", taken.getsockname()[1])
        made.start()
        assert not made.opened.wait(0.5)
    assert made.opened.wait(PATIENCE)
    assert scrape(made)[0] == "HTTP/1.1 200 OK"
    made.close()
    assert len(caplog.records) == 1


def test_one_that_never_opened_can_be_closed() -> None:
    with listen("127.0.0.1", 0) as taken:
        made = Exporter("127.0.0.1", taken.getsockname()[1])
        made.start()
        made.close()
        assert not made.opened.is_set()
    Exporter("127.0.0.1", 0).close()


def test_ipv6_is_served() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    made = Exporter("::1", 0)
    made.start()
    assert made.opened.wait(PATIENCE)
    with urllib.request.urlopen(f"http://[::1]:{made.port}/metrics", timeout=PATIENCE) as response:
        assert response.status == 200
    made.close()
