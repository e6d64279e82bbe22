"""Projects of a few lines, built in a temporary folder and run in processes of their own, as somebody's project is.

Each shares nothing with ours but the installed packages; what differs from test to test is in the settings and files
that a test gives.
"""

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
WITHIN = 120.0  # seconds a command may take on a busy machine

MANAGE = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""
SETTINGS = """
from pathlib import Path
import flotilla

HOME = Path(__file__).parent
SECRET_KEY = "a secret key of a tiny project, which is long enough to be one"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = "urls"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": HOME / "db.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
INSTALLED_APPS = [
    "django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
    "django.contrib.messages", "django.contrib.staticfiles", *flotilla.apps(),
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
STATIC_URL = "/static/"
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True,
    "OPTIONS": {"context_processors": [
        "django.template.context_processors.request", "django.contrib.auth.context_processors.auth",
        "django.contrib.messages.context_processors.messages",
    ]},
}]
FLOTILLA = {
    "redis_url": REDIS_URL, "token_secret": "s" * 40, "api_keys": ["k" * 32],
    "rate_limits": {"users": {"guards": "ws.publish", "key": "user", "rate": "2/m"}},
    "namespaces": {"chat": {"presence": True, "history_size": 10, "history_ttl": "60s"}},
}
"""
URLS = """
from django.contrib import admin
from django.urls import include, path
urlpatterns = [path("admin/", admin.site.urls), path("", include("flotilla.realtime.api.urls"))]
"""
SETUP = """
import json, django
django.setup()
"""


class TinyProject:
    """A project in `home`. `settings` is added to the common ones; `files` are further files by their path."""

    def __init__(
        self,
        home: Path,
        redis_url: str,
        settings: str = "",
        urls: str = URLS,
        files: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.home = home
        self.home.mkdir(exist_ok=True)
        common = f"REDIS_URL = {redis_url!r}\n{SETTINGS}{textwrap.dedent(settings)}"
        for name, text in {"manage.py": MANAGE, "settings.py": common, "urls.py": urls, **files}.items():
            path = self.home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))

    def manage(self, *words: str, status: int = 0) -> str:
        """Run a command and return what it printed, errors included; it must end with this status."""
        return self._run("manage.py", *words, status=status)

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start a command that the caller ends."""
        return subprocess.Popen(
            [sys.executable, "manage.py", *words],
            cwd=self.home,
            env=self._environment(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # what runs in the background ignores it
        )

    def told(self, code: str) -> Any:
        """Run code after `django.setup()` and return what it printed as JSON."""
        printed = self._run("-c", SETUP + textwrap.dedent(code), errors=False)
        return json.loads(printed.splitlines()[-1])

    def _run(self, *words: str, status: int = 0, errors: bool = True) -> str:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.home,
            env=self._environment(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if errors else subprocess.PIPE,
            timeout=WITHIN,
        )
        assert done.returncode == status, f"{words} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        paths = os.pathsep.join([str(self.home), str(ROOT)])
        return kept | {"PYTHONPATH": paths, "DJANGO_SETTINGS_MODULE": "settings"}
