"""Variables that are given as files, as secrets of containers are."""

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from project.checks import check_environment
from project.environment import Environment

ROOT = Path(__file__).resolve().parents[2]


def test_a_variable_s_file_stands_for_its_value(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from a file\n")
    environment = Environment({"KEY_FILE": str(tmp_path / "key")})
    assert environment.text("KEY", "default") == "from a file"
    assert environment.problems == []


def test_the_value_itself_comes_before_its_file(tmp_path: Path) -> None:
    environment = Environment({"KEY": "itself", "KEY_FILE": str(tmp_path / "not there")})
    assert environment.text("KEY") == "itself"
    assert environment.problems == []


@pytest.mark.parametrize("content", [None, b"\xff\xfe\xff"])
def test_a_file_that_cannot_be_read_is_named_once(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    environment = Environment({"KEY_FILE": str(tmp_path / "key")})
    assert environment.text("KEY", "default") == environment.text("KEY", "default") == "default"
    assert [problem.path for problem in environment.problems] == ["KEY_FILE"]


def test_the_name_of_a_file_s_variable_is_no_slip_of_the_pen(settings: Any, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k" * 50)
    given = {"DJANGO_SECRET_KEY_FILE": str(tmp_path / "key"), "REALTIME_API_KEYS_FILE": str(tmp_path / "key")}
    settings.ENVIRONMENT = Environment(given)
    settings.DEBUG = False
    assert check_environment(None) == []


@pytest.mark.parametrize(("said", "secure"), [("1", "True"), ("", "False")])
def test_only_a_proxy_that_is_named_says_that_a_client_came_by_tls(said: str, secure: str) -> None:
    asked = "RequestFactory().get('/', HTTP_X_FORWARDED_PROTO='https').is_secure()"
    code = f"from django.test import RequestFactory; print({asked})"
    env = os.environ | {"DJANGO_TLS_PROXY": said, "DJANGO_SETTINGS_MODULE": "project.settings"}
    words = [sys.executable, "manage.py", "shell", "--verbosity", "0", "-c", code]
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, timeout=100)
    assert done.stdout.strip() == secure, done.stderr


def test_prepare_makes_secrets_once_and_migrates(tmp_path: Path) -> None:
    files = {name: tmp_path / "secrets" / name for name in ("DJANGO_SECRET_KEY", "REALTIME_API_KEYS")}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO", "REALTIME"))}
    env = kept | {f"{name}_FILE": str(path) for name, path in files.items()} | {"FLOTILLA_VAR": str(tmp_path / "var")}

    def manage(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *words], cwd=ROOT, env=env, capture_output=True, text=True, timeout=100
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert str(files["DJANGO_SECRET_KEY"]) in manage("prepare")
    made = {name: path.read_text() for name, path in files.items()}
    assert len(set(made.values())) == 2
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files.values())
    assert "made" not in manage("prepare")
    assert {name: path.read_text() for name, path in files.items()} == made
    manage("check")
    assert manage("migrate", "--check") is not None


@pytest.mark.parametrize(("value", "size"), [("5", 5), ("10MB", 10**7), ("500 kb", 500_000), ("1GB", 10**9), ("7b", 7)])
def test_sizes_may_have_a_unit(value: str, size: int) -> None:
    assert Environment({"SIZE": value}).size("SIZE", 1) == size


def test_sizes_of_paths() -> None:
    environment = Environment({"PATHS": "/upload/=1GB, /import/=5MB,"})
    assert environment.sizes_of_paths("PATHS") == [("/upload/", 10**9), ("/import/", 5 * 10**6)]
    assert environment.problems == []


@pytest.mark.parametrize("value", ["upload=1GB", "/upload/", "/upload/=", "/upload/=much", "=1", "/upload/=-1"])
def test_what_is_no_size_of_a_path_is_named(value: str) -> None:
    environment = Environment({"PATHS": value})
    assert environment.sizes_of_paths("PATHS") == []
    assert [problem.path for problem in environment.problems] == ["PATHS"]


@pytest.mark.parametrize(
    ("value", "path", "right"),
    [
        ("", "", True),
        ("/", "", True),
        ("/a/b", "/a/b", True),
        ("/a/", "/a", True),
        ("a", "", False),
        ("/a//b", "", False),
        ("/a/../b", "", False),
        ("/a b", "", False),
        ("/%61", "", False),
        ("http://a/", "", False),
    ],
)
def test_root_paths(value: str, path: str, right: bool) -> None:
    environment = Environment({"ROOT_PATH": value})
    assert environment.root_path("ROOT_PATH") == path
    assert (environment.problems == []) is right
