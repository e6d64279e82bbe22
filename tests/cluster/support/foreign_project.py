"""A small Django project that is not ours, with a WebSocket consumer and a lifespan of its own, under any ASGI server.

It is written into a test's directory and knows of the platform what its users write: `flotilla.apps()`, FLOTILLA, one
line of ASGI and one of URLs.
"""

import atexit
import json
import os
import shutil
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import psutil

from tests.cluster.support.harness import API_KEY, SECRET, manage
from tests.cluster.support.processes import ROOT, Process, a_redis, free_port, wait_until

SETTINGS = """
    import os
    import flotilla

    SECRET_KEY = "a key of a project of the tests, which is no secret at all"
    DEBUG = {debug}
    ALLOWED_HOSTS = ["127.0.0.1"]
    USE_TZ = True
    INSTALLED_APPS = [{first}
        "django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions", "django.contrib.messages",
        "channels", *flotilla.apps(),
    ]
    DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": {database!r}}}}}
    DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
    ROOT_URLCONF = "mysite.urls"
    TEMPLATES = [{{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}}]
    ASGI_APPLICATION = "mysite.asgi.application"
    FLOTILLA = {flotilla!r}
    LOGGING = {{
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {{"console": {{"class": "logging.StreamHandler"}}}},
        "root": {{"handlers": ["console"], "level": "INFO"}},
    }}
"""

URLS = """
    from django.http import HttpResponse
    from django.urls import include, path

    urlpatterns = [path("", include("flotilla.urls")), path("hello/", lambda request: HttpResponse("hello"))]
"""

CHAT = """
    import json

    from channels.generic.websocket import WebsocketConsumer


    class Chat(WebsocketConsumer):
        def connect(self):
            self.accept()

        def receive(self, text_data=None, bytes_data=None):
            self.send(json.dumps({"got": len(text_data if bytes_data is None else bytes_data)}))

        def disconnect(self, code):
            print("chat ended with", code, flush=True)
"""

ASGI = """
    import os

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")

    import flotilla
    from channels.routing import ProtocolTypeRouter, URLRouter
    from django.core.asgi import get_asgi_application
    from django.urls import path

    django_application = get_asgi_application()

    from mysite.chat import Chat

    websocket = URLRouter([path("ws/chat/", Chat.as_asgi())])
    application = flotilla.asgi(django_application, websocket=websocket)
    as_router = flotilla.asgi(ProtocolTypeRouter({"http": django_application, "websocket": websocket}))
    without_websocket = flotilla.asgi(django_application)
    plain = django_application


    async def own(scope, receive, send):
        if scope["type"] != "lifespan":
            return await django_application(scope, receive, send)
        while True:
            kind = (await receive())["type"]
            print("own", kind, flush=True)
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return


    with_lifespan = flotilla.asgi(own)
"""

MANAGE = """
    import os, sys

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
"""

DATABASE = "db.sqlite3"
_tables: list[Path] = []  # a database with its tables, once one was made in this process
OPEN = {"history_size": 100, "history_ttl": "5m", "allow_subscribe_for_client": True, "allow_publish_for_client": True}


class Project:
    """The project's files, its Redis and its tables. `more`: other keys of FLOTILLA."""

    def __init__(self, home: Path, *, daphne: bool = False, debug: bool = False, **more: Any) -> None:
        self.home = home
        self.redis = a_redis(home)
        self.metrics_port = free_port()
        config = {
            "redis_url": self.redis.url,
            "instance_id": "site",
            "metrics_port": self.metrics_port,
            "token_secret": SECRET,
            "api_keys": [API_KEY],
            "show_instance": True,
            "namespaces": {"open": OPEN},
            "drain_deadline": 6,
        } | more
        package = home / "mysite"
        package.mkdir()
        values = {
            "flotilla": {key: value for key, value in config.items() if value is not None},
            "database": str(home / DATABASE),
            "first": '"daphne", ' if daphne else "",
            "debug": debug,
        }
        for name, text in (("__init__", ""), ("urls", URLS), ("chat", CHAT), ("asgi", ASGI)):
            (package / f"{name}.py").write_text(dedent(text))
        (package / "settings.py").write_text(dedent(SETTINGS).format(**values))
        (home / "manage.py").write_text(dedent(MANAGE))
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("REDIS", "REALTIME", "FLOT"))}
        for name in ("INSTANCE_ID", "METRICS_PORT", "ROOT_PATH"):
            kept.pop(name, None)
        paths = filter(None, (str(home), str(ROOT), os.environ.get("PYTHONPATH")))
        self.env = kept | {"PYTHONPATH": os.pathsep.join(paths), "DJANGO_SETTINGS_MODULE": "mysite.settings"}

    def start(self) -> None:
        """Start its Redis, and make its tables: once in this process, and copied from then on."""
        self.redis.start()
        if _tables:
            shutil.copyfile(_tables[0], self.home / DATABASE)
            return
        manage(self.env, "migrate", "--verbosity", "0", "--skip-checks")
        kept = Path(tempfile.mkdtemp(prefix="flotilla-tables-"))
        atexit.register(shutil.rmtree, kept, ignore_errors=True)
        _tables.append(Path(shutil.copyfile(self.home / DATABASE, kept / DATABASE)))

    def stop(self) -> None:
        """End its Redis."""
        self.redis.stop()


class Serving(Process):
    """A server of that project. `{port}`, `{app}`, `{manage}` and `{home}` in its command stand for what they say."""

    def __init__(self, name: str, project: Project, command: str, app: str = "application", **env: str) -> None:
        super().__init__(name, project.home)
        self.port = free_port()
        self.http = f"http://127.0.0.1:{self.port}"
        self.ws = f"ws://127.0.0.1:{self.port}"
        self.url = f"{self.ws}/connection/websocket"
        self.metrics_port = project.metrics_port
        words = {"port": self.port, "app": f"mysite.asgi:{app}", "manage": project.home / "manage.py"}
        words["home"] = project.home
        self._command = [word.format(**words) for word in command.split()]
        if self._command[0] != str(words["manage"]):
            self._command.insert(0, "-m")
        self.environment = project.env | env

    def launch(self) -> None:
        """Start it."""
        self.spawn([sys.executable, *self._command], self.environment)

    def start(self) -> None:
        """Start it, and wait until it says that it is ready."""
        self.launch()
        try:
            wait_until(lambda: not self.running or self.status("/health/ready") == 200, f"{self.name} is ready")
            assert self.running, f"{self.name} ended with {self.exit_code}"
        except AssertionError as error:
            self.stop()
            raise AssertionError(f"{error}\n{self.tail()}") from None

    def get(self, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, str]:
        """The answer to a request: with a body a POST of JSON with the key of the API. Status 0: nobody answers."""
        headers = {"X-API-Key": API_KEY, "Content-Type": "application/json"} if body is not None else {}
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(
                urllib.request.Request(f"{self.http}{path}", data, headers), timeout=10
            ) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def status(self, path: str) -> int:
        """The status of an answer."""
        return self.get(path)[0]

    def publish(self, channel: str, data: Any) -> None:
        """Publish over the HTTP API."""
        status, text = self.get("/api/publish", {"channel": channel, "data": data})
        assert status == 200 and "result" in json.loads(text), (status, text)

    def nodes(self) -> set[str]:
        """The names of the living instances, as the HTTP API knows them."""
        status, text = self.get("/api/info", {})
        return {node["name"] for node in json.loads(text)["result"]["nodes"]} if status == 200 else set()

    def said(self) -> str:
        """All of its log."""
        return self.log.read_text(errors="replace")

    def processes(self) -> list[psutil.Process]:
        """It and its children."""
        process = psutil.Process(self.pid)
        return [process, *process.children(recursive=True)]


def metrics(port: int) -> str:
    """What a metrics port answers; "" where nobody does."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""
