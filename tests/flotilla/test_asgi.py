"""`flotilla.asgi`: what is the platform's goes there, everything else to the project's own applications."""

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

import flotilla

ROOT = Path(__file__).resolve().parents[2]
DENIAL: dict[str, Any] = {"websocket.http.response": {}}
DJANGO = get_asgi_application()  # sets logging up, too, so not in a test that looks at the log


class Own:
    """An application of the project; notes the scopes it was given."""

    def __init__(self) -> None:
        self.scopes: list[dict[str, Any]] = []

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.scopes.append(scope)


async def ask(application: Any, kind: str, where: str, root: str = "", **more: Any) -> list[dict[str, Any]]:
    """What an application sends for a request or a handshake."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"} if kind == "websocket" else {"type": "http.request", "body": b""}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": kind, "path": where, "root_path": root, "headers": [], "method": "GET", "query_string": b""} | more
    await application(scope, receive, send)
    return sent


@pytest.fixture
def own() -> Own:
    return Own()


class TestHttp:
    @pytest.mark.parametrize(("where", "root"), [("/hello/", ""), ("/r/hello/", "/r"), ("/health/", ""), ("/", "")])
    async def test_what_is_not_ours_is_the_project_s(self, own: Own, where: str, root: str) -> None:
        """As it came."""
        assert not await ask(flotilla.asgi(own), "http", where, root)
        assert [(scope["path"], scope["root_path"]) for scope in own.scopes] == [(where, root)]

    @pytest.mark.parametrize(
        ("where", "root"),
        [
            ("/health/live", ""),
            ("/r/health/live", "/r"),
            ("/r/health/live", "/r/"),
            ("/health/live", "/r"),  # its proxy has taken the root path off, or it is asked directly
        ],
    )
    async def test_health_is_ours_below_the_root_path(self, own: Own, where: str, root: str) -> None:
        sent = await ask(flotilla.asgi(own), "http", where, root)
        assert (sent[0]["status"], own.scopes) == (200, [])

    async def test_a_path_that_only_begins_like_the_root_is_the_project_s(self, own: Own) -> None:
        await ask(flotilla.asgi(own), "http", "/rhealth/live", "/r")
        assert own.scopes

    async def test_health_may_be_elsewhere_or_left_to_the_project(self, own: Own) -> None:
        moved = await ask(flotilla.asgi(own, health="/flotilla/health/"), "http", "/flotilla/health/live")
        assert moved[0]["status"] == 200
        await ask(flotilla.asgi(own, health=None), "http", "/health/live")
        assert own.scopes

    async def test_a_handshake_that_lost_its_upgrade_is_told_so(self, own: Own) -> None:
        sent = await ask(flotilla.asgi(own), "http", "/connection/websocket")
        assert (sent[0]["status"], own.scopes) == (426, [])

    async def test_a_call_of_the_api_without_a_key_is_given_no_body(self) -> None:
        """Whatever application is around Django: the body is not even asked for."""
        bodies: list[bytes] = []

        async def around(scope: Any, receive: Any, send: Any) -> None:
            bodies.append((await receive())["body"])

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"a body", "more_body": False}

        for where in ("/api/publish", "/other"):
            scope = {"type": "http", "path": where, "headers": [(b"content-length", b"6")], "method": "POST"}
            await flotilla.asgi(around)(scope, receive, None)  # type: ignore[arg-type]
        assert bodies == [b"", b"a body"]


class TestWebSockets:
    @pytest.mark.parametrize("where", ["/ws/chat/", "/", "/connection/websocket/", "/connection"])
    async def test_others_are_the_project_s(self, own: Own, where: str) -> None:
        assert not await ask(flotilla.asgi(DJANGO, own), "websocket", where)
        assert [scope["path"] for scope in own.scopes] == [where]

    async def test_those_of_a_router_of_protocols_stay(self, own: Own) -> None:
        router = ProtocolTypeRouter({"http": DJANGO, "websocket": own})
        await ask(flotilla.asgi(router), "websocket", "/ws/chat/")
        assert own.scopes

    async def test_a_router_without_them_is_not_asked(self, own: Own) -> None:
        application = flotilla.asgi(ProtocolTypeRouter({"http": own}))
        assert (await ask(application, "websocket", "/ws/chat/", extensions=DENIAL))[0]["status"] == 404
        await ask(application, "http", "/hello/")
        assert own.scopes

    async def test_where_nobody_serves_them_the_log_says_what_to_pass(
        self, own: Own, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Once a minute, for anybody can ask."""
        application = flotilla.asgi(own)
        for _ in range(3):
            sent = await ask(application, "websocket", "/ws/chat/", extensions=DENIAL)
            assert [message.get("status") for message in sent] == [404, None]
        assert await ask(application, "websocket", "/ws/chat/") == [{"type": "websocket.close", "code": 1000}]
        said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert len(said) == 1
        assert "/ws/chat/ was refused" in said[0] and "websocket=URLRouter(" in said[0]

    async def test_a_path_that_the_project_does_not_route_is_refused(
        self, own: Own, caplog: pytest.LogCaptureFixture
    ) -> None:
        """And is no failure."""
        application = flotilla.asgi(DJANGO, URLRouter([path("ws/chat/", own)]))  # type: ignore[arg-type]
        assert (await ask(application, "websocket", "/ws/other/", extensions=DENIAL))[0]["status"] == 404
        assert "/ws/other/ was refused: the project's URLRouter has no route for it" in caplog.text
        await ask(application, "websocket", "/ws/chat/")
        assert own.scopes

    async def test_a_failure_of_the_project_s_is_its_own(self) -> None:
        async def fails(scope: Any, receive: Any, send: Any) -> None:
            raise ValueError("as it was asked to")

        with pytest.raises(ValueError, match="as it was asked to"):
            await ask(flotilla.asgi(DJANGO, fails), "websocket", "/ws/chat/")


async def test_other_kinds_are_the_project_s(own: Own) -> None:
    """As Channels' background workers."""
    await ask(flotilla.asgi(own), "channel", "")
    await ask(flotilla.asgi(ProtocolTypeRouter({"http": own, "channel": own})), "channel", "")
    assert len(own.scopes) == 2


SETUP = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
{imports}
from django.core.asgi import get_asgi_application
{application}
assert type(application).__name__ == "Stack"
"""


@pytest.mark.parametrize(
    ("imports", "application"),
    [
        ("import flotilla", "application = flotilla.asgi(get_asgi_application())"),
        ("from flotilla import asgi", "application = asgi(get_asgi_application())"),
        ("import flotilla", "application = flotilla.asgi()"),
        ("", "django = get_asgi_application(); import flotilla; application = flotilla.asgi(django)"),
    ],
)
def test_it_can_be_named_before_django_is_set_up(imports: str, application: str) -> None:
    code = SETUP.format(imports=imports, application=application)
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
