"""Who may see the demo page and who may stop an instance, without a browser."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from django.http import HttpRequest
from django.test import Client, RequestFactory, override_settings
from django.urls import reverse

from examples.demo import instances, local_requests, views

sent: list[tuple[int, signal.Signals]] = []


@pytest.fixture(autouse=True)
def no_signals(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[None]:
    """A test process and its children are called ``here-0``; signals are noted, not sent."""
    settings.ALLOWED_HOSTS = [".localhost", "127.0.0.1", "[::1]", "testserver"]
    sent.clear()
    monkeypatch.setattr(views, "find_sibling", lambda name: psutil.Process() if name == "here-0" else None)
    monkeypatch.setattr(views, "stop_later", lambda process, number: sent.append((process.pid, number)))
    yield


HERE = {"host": "127.0.0.1:8000"}
SECRET = re.compile(r'name="secret" value="([0-9a-f]{64})"')


def secret_of(client: Client, host: str = HERE["host"], **more: Any) -> str:
    """The secret in the page that is served to this visitor, "" where there is none."""
    found = SECRET.search(client.get("/", headers={"host": host}, **more).content.decode())
    return found[1] if found else ""


def post(client: Client, host: str = HERE["host"], **fields: str) -> Any:
    form = {"instance": "here-0", "secret": secret_of(client, host), **fields}
    return client.post(reverse("demo:stop"), form, headers={"host": host})


def test_page_forbids_inline_script_and_style_and_has_none(client: Client) -> None:
    response = client.get("/")
    policy = response["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    page = response.content.decode()
    assert "style=" not in page and "<style" not in page and "onclick" not in page
    assert all("src=" in tag for tag in page.split("<script")[1:])


@override_settings(FLOTILLA_DEMO=False)
def test_outside_the_demo_nothing_can_be_stopped(client: Client) -> None:
    assert post(client).status_code == 404
    assert "data-stop" not in client.get("/").content.decode()
    assert sent == []


@override_settings(FLOTILLA_DEMO=True)
@pytest.mark.parametrize("how, number", [("drain", signal.SIGTERM), ("kill", signal.SIGKILL)])
def test_visitor_on_this_machine_stops_the_named_instance(client: Client, how: str, number: signal.Signals) -> None:
    assert post(client, how=how).status_code == 202
    assert sent == [(psutil.Process().pid, number)]


@override_settings(FLOTILLA_DEMO=True)
def test_unknown_instance_and_unknown_way_are_refused(client: Client) -> None:
    assert post(client, instance="elsewhere-0").status_code == 404
    assert post(client, how="nuke").status_code == 400
    assert client.get(reverse("demo:stop"), headers=HERE).status_code == 405
    assert sent == []


@override_settings(FLOTILLA_DEMO=True)
def test_stop_without_csrf_token_is_refused() -> None:
    assert post(Client(enforce_csrf_checks=True), how="kill").status_code == 403
    assert sent == []


@override_settings(FLOTILLA_DEMO=True)
def test_stop_without_the_secret_of_the_page_is_refused(client: Client) -> None:
    secret = secret_of(client)
    for wrong in ("", "0" * 64, secret[:-1], secret.upper(), secret_of(client, "localhost:8000"), "é", "a\0b"):
        assert post(client, secret=wrong).status_code == 404, wrong
    with override_settings(SECRET_KEY="of another demo on this machine"):
        assert post(client, secret=secret).status_code == 404
    assert sent == []


@override_settings(FLOTILLA_DEMO=True, ALLOWED_HOSTS=["*"])
@pytest.mark.parametrize("host", ["evil.com", "127.0.0.1.evil.com", "localhost.evil.com", "evil-localhost", "10.0.0.1"])
def test_a_name_that_only_resolves_to_this_machine_gets_no_secret_and_stops_nothing(client: Client, host: str) -> None:
    assert secret_of(client, f"{host}:8000") == ""
    form = {"instance": "here-0", "secret": secret_of(client)}
    assert client.post(reverse("demo:stop"), form, headers={"host": host}).status_code == 404
    assert sent == []


@override_settings(FLOTILLA_DEMO=True)
@pytest.mark.parametrize("host", ["localhost:8000", "app.localhost", "[::1]:8000", "127.0.0.1"])
def test_each_name_of_this_machine_has_its_own_secret(client: Client, host: str) -> None:
    assert secret_of(client, host) not in ("", secret_of(client))
    assert post(client, host).status_code == 202


@override_settings(FLOTILLA_DEMO=True)
def test_a_page_on_another_port_is_refused(client: Client) -> None:
    """It has the cookie with the CSRF token, for cookies know no ports."""
    strict = Client(enforce_csrf_checks=True)
    strict.get("/", headers=HERE)
    form = {"instance": "here-0", "csrfmiddlewaretoken": strict.cookies["csrftoken"].value, "secret": secret_of(strict)}
    for origin, status in (("http://127.0.0.1:3000", 403), ("null", 403), ("http://127.0.0.1:8000", 202)):
        answer = strict.post(reverse("demo:stop"), form, headers=HERE | {"origin": origin})
        assert answer.status_code == status, origin


@override_settings(FLOTILLA_DEMO=True)
def test_another_user_of_this_machine_gets_no_secret_and_stops_nothing(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not os.path.exists("/proc/net/tcp"):
        pytest.skip("this system does not say whose a connection is")
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as theirs:
        ports = {"REMOTE_PORT": theirs.getsockname()[1], "SERVER_PORT": str(server.getsockname()[1])}
        assert secret_of(client, **ports)
        with monkeypatch.context() as patch:
            patch.setattr(local_requests.os, "getuid", lambda: os.geteuid() + 1)
            assert secret_of(client, **ports) == ""
        assert secret_of(client, **ports | {"REMOTE_PORT": ports["SERVER_PORT"]}) == "", "no such connection"


@pytest.mark.parametrize(
    ("end", "address"),
    [
        ("0100007F:1F90", "127.0.0.1"),
        ("0000000000000000FFFF00000100007F:1F90", "127.0.0.1"),
        ("00000000000000000000000001000000:1F90", "::1"),
    ],
)
def test_the_end_of_a_connection_as_the_system_writes_it(end: str, address: str) -> None:
    assert str(local_requests._address_of(end)) == address


def request_from(address: str, **headers: str) -> HttpRequest:
    return RequestFactory().get("/", REMOTE_ADDR=address, headers=HERE | headers)


@override_settings(FLOTILLA_DEMO=True)
@pytest.mark.parametrize("address", ["127.0.0.1", "127.3.4.5", "::1", "::ffff:127.0.0.1"])
def test_loopback_may_stop(address: str) -> None:
    assert views.may_stop(request_from(address))


@override_settings(FLOTILLA_DEMO=True)
@pytest.mark.parametrize("address", ["10.0.0.1", "::ffff:10.0.0.1", "2001:db8::1", "", "localhost", "0.0.0.0"])
def test_other_addresses_may_not_stop(address: str) -> None:
    assert not views.may_stop(request_from(address))


@override_settings(FLOTILLA_DEMO=True)
@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded", "x-real-ip", "via"])
def test_forwarded_requests_may_not_stop(header: str) -> None:
    assert not views.may_stop(request_from("127.0.0.1", **{header: "127.0.0.1"}))


def test_sibling_is_found_by_the_name_in_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env={"INSTANCE_ID": "sibling-7"}, **pipes) as child:  # type: ignore[call-overload]
        child.stdout.readline()  # it runs, so its environment can be read
        monkeypatch.setattr("examples.demo.instances.os.getppid", lambda: psutil.Process().pid)
        found = instances.find_sibling("sibling-7")
        assert found is not None and found.pid == child.pid
        assert instances.find_sibling("sibling-8") is None
        assert instances.find_sibling("") is None
        child.stdin.close()
