"""Whose session cookie counts on a real connection: over TCP, over our own TLS, and behind the shipped HAProxy."""

import json
import shutil
import ssl
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.support.generic_server import Raw, Server, self_signed
from tests.cluster.support.harness import CONFIG, Instance, environment, manage, migrate
from tests.cluster.support.processes import ROOT, Process, a_redis, free_port, wait_until
from tests.raw_frames import TEXT, frame

LOGIN = """
from importlib import import_module
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
user, _ = User.objects.get_or_create(username="cookie")
session = import_module(settings.SESSION_ENGINE).SessionStore()
session[SESSION_KEY] = str(user.pk)
session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
session[HASH_SESSION_KEY] = user.get_session_auth_hash()
session.save()
print(session.session_key)
"""
LISTED = "https://app.example.com,https://*.tenants.example.com,null,capacitor://localhost"


class Place:
    """An address where instances answer, over TCP and TLS."""

    def __init__(self, port: int, tls_port: int, session: str) -> None:
        self.port, self.tls_port, self._session = port, tls_port, session

    def user(self, origin: str, *, tls: bool, **headers: str) -> str:
        """Whom a page of this origin is connected as by its cookie; "" where it is not, "refused" at the handshake."""
        port = self.tls_port if tls else self.port
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        with Raw(port, tls=tls) as client:
            request = [
                *("GET /connection/websocket HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Origin: {origin}"),
                *("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"),
                *("Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==", f"Cookie: sessionid={self._session}", *lines, "", ""),
            ]
            client.send("\r\n".join(request).encode())
            if b" 101 " not in client.head().split(b"\r\n")[0]:
                return "refused"
            client.send(frame(TEXT, json.dumps({"id": 1, "connect": {}}).encode()))
            client.send(frame(TEXT, json.dumps({"id": 2, "presence": {"channel": "bare:x"}}).encode()))
            return "cookie" if b'"connect"' in (client.frame() or (0, b""))[1] else ""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("site")


@pytest.fixture(scope="module")
def env(home: Path) -> Iterator[dict[str, str]]:
    redis = a_redis(home)
    redis.start()
    made = environment(home, redis.url, CONFIG, REALTIME_ALLOWED_ORIGINS=LISTED)
    try:
        migrate(made)
        yield made
    finally:
        redis.stop()


@pytest.fixture(scope="module")
def session(env: dict[str, str]) -> str:
    return manage(env, "shell", "--verbosity", "0", "-c", LOGIN).split()[-1]


@pytest.fixture(scope="module")
def direct(home: Path, env: dict[str, str], session: str) -> Iterator[Place]:
    """One instance that ends TLS itself."""
    server = Direct("direct", home, env, certificate=self_signed(home))
    try:
        server.start()
        yield Place(server.port, server.tls_port, session)
    finally:
        server.stop()


class Direct(Server):
    """The project's own application, over TLS too."""

    def _command(self) -> list[str]:
        return [*super()._command()[:-1], "project.asgi:application"]


@pytest.fixture(scope="module")
def behind_haproxy(home: Path, env: dict[str, str], session: str) -> Iterator[Place]:
    """One instance behind HAProxy as it is shipped, but for names and ports."""
    if shutil.which("haproxy") is None:
        pytest.skip("no haproxy on the PATH")
    instance = Instance("proxied", home, env | {"DJANGO_TLS_PROXY": "1"})
    ports = free_port(), free_port(), free_port()
    shipped = (ROOT / "deploy" / "haproxy.cfg").read_text()
    for old, new in zip((":8000\n", ":8443 ", ":8404\n"), ports, strict=True):
        shipped = shipped.replace(f"bind {old}", f"bind 127.0.0.1:{new}{old[-1]}")
    lines = [line for line in shipped.splitlines() if "backend2:" not in line and "backend3:" not in line]
    config = home / "haproxy.cfg"
    text = "\n".join(lines).replace(" resolvers docker init-addr none", "")
    config.write_text(text.replace("backend1:8000", f"127.0.0.1:{instance.port}") + "\n")
    haproxy = Process("haproxy", home)
    try:
        instance.start()
        certificate = str(self_signed(home))
        haproxy.spawn(["haproxy", "-db", "-f", str(config)], env | {"TLS_CERTIFICATES": certificate})
        place = Place(ports[0], ports[1], session)
        wait_until(lambda: not haproxy.running or answers(place), "haproxy answers")
        assert haproxy.running, haproxy.tail()
        yield place
    finally:
        haproxy.kill()
        instance.stop()


def answers(place: Place) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with urllib.request.urlopen(f"https://127.0.0.1:{place.tls_port}/health/ready", timeout=5, context=context):
            return True
    except OSError:
        return False


@pytest.mark.parametrize("tls", [False, True])
def test_the_page_s_own_scheme_host_and_port(direct: Place, tls: bool) -> None:
    own, other = ("https", "http") if tls else ("http", "https")
    port = direct.tls_port if tls else direct.port
    assert direct.user(f"{own}://127.0.0.1:{port}", tls=tls) == "cookie"
    assert direct.user(f"{other}://127.0.0.1:{port}", tls=tls) == ""
    assert direct.user(f"{own}://127.0.0.1:{port + 1}", tls=tls) == "refused"
    assert direct.user(f"{own}://127.0.0.1", tls=tls) == "refused"


@pytest.mark.parametrize("tls", [False, True])
def test_listed_sites_and_pages_without_one(direct: Place, tls: bool) -> None:
    for origin, user in (
        ("https://app.example.com", "cookie"),
        ("https://a.tenants.example.com", "cookie"),
        ("http://a.tenants.example.com", "refused"),
        ("https://tenants.example.com", "refused"),
        ("null", ""),
        ("capacitor://localhost", ""),
        ("file://", "refused"),
    ):
        assert direct.user(origin, tls=tls) == user, origin


def test_what_a_client_says_of_its_scheme_is_not_believed(direct: Place) -> None:
    secure: dict[str, Any] = {"X_Forwarded_Proto": "https"}
    assert direct.user(f"https://127.0.0.1:{direct.port}", tls=False, **secure) == ""


def test_behind_the_shipped_haproxy(behind_haproxy: Place) -> None:
    port = behind_haproxy.tls_port
    assert behind_haproxy.user(f"https://127.0.0.1:{port}", tls=True) == "cookie"
    assert behind_haproxy.user(f"http://127.0.0.1:{port}", tls=True) == ""
    assert behind_haproxy.user(f"http://127.0.0.1:{port}", tls=True, X_Forwarded_Proto="http") == ""
    assert behind_haproxy.user("https://app.example.com", tls=True) == "cookie"
    assert behind_haproxy.user("https://evil.com", tls=True) == "refused"
