"""Who may see the demo page and who may stop an instance, without a browser."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from django.http import HttpRequest
from django.test import Client, RequestFactory, override_settings
from django.urls import reverse

from realtime import siblings, views

sent: list[tuple[int, signal.Signals]] = []


@pytest.fixture(autouse=True)
def no_signals(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A test process and its children are called ``here-0``; signals are noted, not sent."""
    sent.clear()
    monkeypatch.setattr(views, "find_sibling", lambda name: psutil.Process() if name == "here-0" else None)
    monkeypatch.setattr(views, "stop_later", lambda process, number: sent.append((process.pid, number)))
    yield


def post(client: Client, **fields: str) -> Any:
    return client.post(reverse("realtime:demo_stop"), {"instance": "here-0", **fields})


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
    assert client.get(reverse("realtime:demo_stop")).status_code == 405
    assert sent == []


@override_settings(FLOTILLA_DEMO=True)
def test_stop_without_csrf_token_is_refused() -> None:
    assert post(Client(enforce_csrf_checks=True), how="kill").status_code == 403
    assert sent == []


def request_from(address: str, **headers: str) -> HttpRequest:
    return RequestFactory().get("/", REMOTE_ADDR=address, headers=headers)


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
        monkeypatch.setattr("realtime.siblings.os.getppid", lambda: psutil.Process().pid)
        found = siblings.find_sibling("sibling-7")
        assert found is not None and found.pid == child.pid
        assert siblings.find_sibling("sibling-8") is None
        assert siblings.find_sibling("") is None
        child.stdin.close()
