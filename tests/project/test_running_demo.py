"""Commands beside the demo that runs: they find it, and nobody else's settings are touched."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

from project.running_demo import NAME, found_by_others
from tests.cluster.support.harness import ready
from tests.cluster.support.processes import ROOT, free_port, wait_until

README = (ROOT / "README.md").read_text()
SHELL_LINE = re.compile(r"`((?:\.venv/bin/)?python manage\.py [^`…]+)`")
BARE = {
    name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ
}  # a shell that was just opened
DEMO = {"DJANGO_SETTINGS_MODULE": "project.settings", "FLOTILLA_DEMO": "1", "PORT": "8123", "PATH": "/bin"}
HOLD = """
import os, sys
from project.running_demo import found_by_others
with found_by_others(os.environ, ["serve", "--demo"]):
    print("here", flush=True)
    sys.stdin.read()
"""


def shell_lines() -> list[str]:
    """The lines of README that are to be typed beside `make run`."""
    return [line for line in SHELL_LINE.findall(README) if " serve" not in line]


def found(home: Path, *words: str, **environment: str) -> dict[str, str]:
    """The environment of a command in a shell with this one."""
    mine = {"DJANGO_SETTINGS_MODULE": "project.settings", "FLOTILLA_VAR": str(home), **environment}
    with found_by_others(mine, list(words)):
        return {name: value for name, value in mine.items() if name not in ("DJANGO_SETTINGS_MODULE", "FLOTILLA_VAR")}


@pytest.fixture
def holder(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that stands for the demo, from when it can be found."""
    environment = os.environ | DEMO | {"FLOTILLA_VAR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    for name in ("DJANGO_SECRET_KEY", "REDIS_URL"):
        environment.pop(name, None)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        yield process
        process.kill()


def test_a_command_has_the_settings_of_the_demo_that_runs(holder: object, tmp_path: Path) -> None:
    """Those of its own come first; the file is the owner's alone, and holds nothing that settings do not read."""
    assert found(tmp_path, "publish") == found(tmp_path, "flotilla", "publish")
    seen = found(tmp_path, "publish", PORT="9")
    assert (seen["FLOTILLA_DEMO"], seen["PORT"]) == ("1", "9")
    assert found(tmp_path, "connections")["PORT"] == "8123"
    assert "PATH" not in json.loads((tmp_path / NAME).read_text())
    assert (tmp_path / NAME).stat().st_mode & 0o077 == 0


def test_another_installation_is_left_alone(holder: object, tmp_path: Path) -> None:
    """Whoever has a secret key of their own, and a command that makes an installation."""
    assert found(tmp_path, "publish", DJANGO_SECRET_KEY="k") == {"DJANGO_SECRET_KEY": "k"}
    assert found(tmp_path, "publish", FLOTILLA_DEMO="0") == {"FLOTILLA_DEMO": "0"}
    assert found(tmp_path, "publish", DJANGO_SETTINGS_MODULE="tests.settings") == {}
    for words in (("serve",), ("prepare",), ("flotilla", "serve"), ("loadtest",)):
        assert found(tmp_path, *words) == {}


def test_a_second_demo_does_not_take_the_place_of_the_first(holder: object, tmp_path: Path) -> None:
    assert found(tmp_path, "serve", FLOTILLA_DEMO="1", PORT="9") == {"FLOTILLA_DEMO": "1", "PORT": "9"}
    assert found(tmp_path, "publish")["PORT"] == "8123"


@pytest.mark.parametrize("by", [signal.SIGKILL, None])
def test_a_demo_that_ended_is_not_found(
    holder: "subprocess.Popen[str]", tmp_path: Path, by: signal.Signals | None
) -> None:
    """However it did."""
    if by is None:
        assert holder.stdin is not None
        holder.stdin.close()
    else:
        holder.send_signal(by)
    holder.wait(60)
    assert (tmp_path / NAME).exists() is (by is not None)
    assert found(tmp_path, "publish") == {}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A fresh copy of this checkout with its Python, in which the demo runs."""
    home = tmp_path_factory.mktemp("checkout") / "flotilla"
    unwanted = ignore_patterns(".venv", ".git", "node_modules", "var", "__pycache__", ".*_cache", ".hypothesis")
    copytree(ROOT, home, symlinks=True, ignore=unwanted)
    (home / ".venv").symlink_to(sys.prefix)
    port = free_port()
    own = {"PORT": str(port), "METRICS_PORT": "0", "INSTANCES": "1"}
    log = home.parent / "serve.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [".venv/bin/python", "manage.py", "serve", "--demo"],  # what `make run` does once all is installed
            cwd=home,
            env=BARE | own,
            stdout=output,
            stderr=output,
        )
    try:
        wait_until(lambda: process.poll() is not None or ready(f"http://127.0.0.1:{port}"), "the demo serves")
        assert process.poll() is None, log.read_text()
        yield home
    finally:
        process.terminate()
        process.wait(60)


def shell(home: Path, line: str) -> str:
    done = subprocess.run(["bash", "-c", line], cwd=home, env=BARE, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{line} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


def test_the_lines_of_the_readme_work_beside_the_demo_as_they_are_printed(checkout: Path) -> None:
    said = {line: shell(checkout, line) for line in shell_lines()}
    assert len(said) >= 3
    (published,) = (text for line, text in said.items() if " publish " in line)
    assert published.startswith("Published into room:lobby as offset ")
    assert "1 of 1 instances answered" in said[".venv/bin/python manage.py connections"]
    assert "tail" in said[".venv/bin/python manage.py flotilla"]


def test_a_python_without_django_goes_on_with_the_checkouts_own(checkout: Path) -> None:
    """As `python` is, in a shell in which nothing was activated."""
    line = f"{sys.executable} -I -S manage.py publish room:lobby '\"from outside\"'"
    assert "Published into room:lobby" in shell(checkout, line)
