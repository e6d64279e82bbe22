"""What a production without further settings is, and what the demo adds to it: nothing is open that nobody opened."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
KEY = "a secret key of this test, which is long enough to be one"
TELL = """
import django, json
django.setup()
from django.conf import settings
from django.urls import NoReverseMatch, reverse
from flotilla.realtime.conf import get_config
def leads(name):
    try:
        return reverse(name)
    except NoReverseMatch:
        return None
config = get_config()
names = ("DEBUG", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SESSION_COOKIE_HTTPONLY", "METRICS_HOST", "HOST")
print(json.dumps({name: getattr(settings, name) for name in names} | {
    "api_keys": len(config.api_keys), "tokens": bool(config.token_secret), "origins": config.allowed_origins,
    "insecure": config.insecure, "anonymous": config.anonymous, "namespaces": sorted(config.namespaces),
    "open": [name for name in dir(config.without_namespace)
             if name.startswith("allow_") and getattr(config.without_namespace, name)],
    "example": "examples.rooms" in settings.INSTALLED_APPS, "rooms": leads("rooms:index"),
}))
"""


def python(home: Path, code: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run code in a process whose environment holds nothing but this."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "SYSTEMROOT") if name in os.environ}
    own = {"DJANGO_SETTINGS_MODULE": "project.settings", "FLOTILLA_VAR": str(home)}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=kept | own | environment, capture_output=True, text=True, timeout=60
    )


def told(home: Path, **environment: str) -> dict[str, Any]:
    done = python(home, TELL, **environment)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_production_opens_nothing_by_itself(tmp_path: Path) -> None:
    assert told(tmp_path, DJANGO_SECRET_KEY=KEY) == {
        "DEBUG": False,
        "SESSION_COOKIE_SECURE": True,
        "CSRF_COOKIE_SECURE": True,
        "SESSION_COOKIE_HTTPONLY": True,
        "METRICS_HOST": "127.0.0.1",
        "HOST": "127.0.0.1",
        "api_keys": 0,
        "tokens": False,
        "origins": [],
        "insecure": False,
        "anonymous": False,
        "namespaces": [],
        "open": [],
        "example": False,
        "rooms": None,
    }
    assert list(tmp_path.iterdir()) == [], "nothing was made that nobody asked for"


def test_an_instance_without_a_secret_key_does_not_start(tmp_path: Path) -> None:
    done = python(tmp_path, "import project.asgi")
    assert done.returncode != 0 and "DJANGO_SECRET_KEY" in done.stderr


@pytest.mark.parametrize("variable", ["DATABASE_URL", "REDIS_URL"])
def test_what_is_said_of_a_wrong_address_holds_no_password(tmp_path: Path, variable: str) -> None:
    wrong = {variable: "nonsense://user:hunter2@host/"}
    done = python(tmp_path, "import project.asgi", DJANGO_SECRET_KEY=KEY, **wrong)
    assert done.returncode != 0 and variable in done.stderr
    assert "hunter2" not in done.stdout + done.stderr


def test_the_demo_makes_its_secrets_itself_and_for_its_user_alone(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    found = told(tmp_path / "var", FLOTILLA_DEMO="1")
    assert found["example"] and found["rooms"] == "/rooms/" and found["HOST"] == "127.0.0.1"
    assert not found["insecure"] and found["open"] == []
    made = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "var").iterdir()}
    assert made == dict.fromkeys(("secret_key", "token_secret", "api_key", "demo_password"), 0o600)
    assert len({file.read_text() for file in (tmp_path / "var").iterdir()}) == len(made)


def test_a_vanished_postgresql_is_given_up_unless_the_address_says_otherwise(tmp_path: Path) -> None:
    tell = "from django.conf import settings; import json; print(json.dumps(settings.DATABASES['default']['OPTIONS']))"
    address = "postgres://user@db:5432/name?connect_timeout=30&sslmode=require"
    done = python(tmp_path, tell, DJANGO_SECRET_KEY=KEY, DATABASE_URL=address)
    options = json.loads(done.stdout)
    assert (int(options["connect_timeout"]), options["sslmode"]) == (30, "require")
    assert options["tcp_user_timeout"] == 10_000
    assert options["keepalives_idle"] == 5
