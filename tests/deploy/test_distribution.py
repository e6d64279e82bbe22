"""The distribution `django-flotilla`: what is in it, that it can be made again from its sdist, and that its core runs
without any extra.

It is built from a copy of the checkout in which things lie about that must not be shipped.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest

import flotilla

ROOT = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGES = tuple(sorted(path.name for path in (ROOT / "flotilla").iterdir() if path.is_symlink()))
COPIED = (*PACKAGES, "flotilla", "project", "examples")
STRAY = ("realtime/__pycache__/conf.cpython-311.pyc", "store/old.pyc", "ops/load/profile/node_modules/ws/index.js")
STRAY += (
    "flotilla/_speedups.abi3.so",
    "var/secret_key",
    "flotilla/var/secret_key",
    "dist/old.whl",
    "tests/test_it.py",
    ".env",
)
LEFT_OUT = ("__pycache__", "node_modules", "var")
KINDS = {
    "a template": "flotilla/realtime/templates/admin/realtime/list.html",
    "a static file": "flotilla/realtime/static/realtime/vendor/centrifuge.js",
    "a script": "flotilla/realtime/engine/lua/publish.lua",
    "rules": "flotilla/monitoring/prometheus/rules/alerts.yml",
    "a dashboard": "flotilla/monitoring/grafana/dashboards/flotilla-overview.json",
    "a load profile": "flotilla/ops/load/profile/package-lock.json",
    "a hidden file of it": "flotilla/ops/load/profile/.npmrc",
    "a migration": "flotilla/ratelimit/migrations/0001_initial.py",
    "a command": "flotilla/realtime/management/commands/serve.py",
    "types": "flotilla/py.typed",
    "what the native part is compiled of": "flotilla/speedups/native/speedups.h",
}
COMPILED = "flotilla/_speedups.abi3.so"
WITHOUT_COMPILER = {"CC": "false"}
PURE = {"FLOTILLA_PURE_PYTHON": "1"}
# What cannot be imported without an extra: modules that are part of what the extra brings.
OF_AN_EXTRA = {
    "flotilla.realtime.server.daphne": "daphne",
    "flotilla.realtime.server.factory": "daphne",
    "flotilla.realtime.server.http.connection": "daphne",
    "flotilla.realtime.server.http.scope": "daphne",
    "flotilla.realtime.server.streams": "daphne",
    "flotilla.realtime.server.tls": "daphne",
    "flotilla.ratelimit.http.decorators": "ratelimit",
    "flotilla.spans": "tracing",
    "flotilla.ops.drill.dashboard_check": "ops",
    "flotilla.ops.drill.drills": "ops",
    "flotilla.ops.drill.load": "ops",
    "flotilla.ops.drill.session": "ops",
    "flotilla.ops.drill.silence": "ops",
}
LOADED_BY_OTHERS = {"flotilla.testing.pytest_plugin"}  # by a program that is there then
WITH_LUA = "flotilla.store.in_process."  # loaded where there is no Redis and `testing` is installed
# Where people meet an extra that is missing, and so are told its name.
ENTRANCES = (
    "flotilla.spans",
    "flotilla.realtime.server.daphne",
    "flotilla.ratelimit.http.decorators",
    "flotilla.ops.drill.drills",
)

SETTINGS = """
import flotilla
SECRET_KEY = "of a test, and long enough for whoever wants fifty characters"
ALLOWED_HOSTS = ["testserver"]
INSTALLED_APPS = [
    *(f"django.contrib.{name}" for name in ("contenttypes", "auth", "sessions", "messages", "admin", "staticfiles")),
    *flotilla.apps(),
]
MIDDLEWARE = [
    "flotilla.monitoring.middleware.CountBefore",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "flotilla.ratelimit.http.middleware.RateLimitMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "flotilla.monitoring.middleware.CountAfter",
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True, "OPTIONS": {
    "context_processors": ["django.template.context_processors.request",
                           "django.contrib.auth.context_processors.auth",
                           "django.contrib.messages.context_processors.messages"]}}]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
ROOT_URLCONF = "host_urls"
STATIC_URL = "/static/"
FLOTILLA = {"redis_url": "redis://127.0.0.1:1"}
"""
URLS = """
from django.http import HttpResponse
from django.urls import path
urlpatterns = [path("", lambda request: HttpResponse("a page"))]
"""
IMPORT_ALL = """
import importlib, json, os, pkgutil
os.environ["DJANGO_SETTINGS_MODULE"] = "host_settings"
import django; django.setup()
import flotilla
found = {}
for module in pkgutil.walk_packages(flotilla.__path__, "flotilla."):
    try:
        importlib.import_module(module.name)
        found[module.name] = ""
    except ImportError as error:
        found[module.name] = str(error)
print(json.dumps(found))
"""
TRY = """
import json, os, sys, traceback
os.environ["DJANGO_SETTINGS_MODULE"] = "host_settings"
import django; django.setup()
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.test import Client
answer = Client().get("/")
said = {"page": f"{answer.status_code} {answer.content.decode()}"}
said["check"] = [f"{found.id}: {found.msg}" for found in run_checks(tags=["flotilla_monitoring"])]
said["models"] = [str(found) for found in run_checks(tags=["models"])]
for words in json.loads(sys.argv[1]):
    try:
        call_command(*words, stdout=sys.stderr)
        said[words[0]] = "done"
    except CommandError as error:
        said[words[0]] = str(error)
    except BaseException:  # what people would see, too
        said[words[0]] = traceback.format_exc()
print(json.dumps(said))
"""
WITHOUT = {  # what a command says that lacks something
    ("serve",): 'pip install "django-flotilla[daphne]"',
    ("check_alerts", "--drill", "short"): 'pip install "django-flotilla[ops]"',
    ("prove_dashboards",): 'pip install "django-flotilla[ops]"',
    ("loadtest",): "load a running installation with --target",
}


def run(*words: str | Path, cwd: Path, variables: dict[str, str] | None = None) -> str:
    """Run a tool; its complaint is the failure."""
    environment = os.environ | (variables or {})
    done = subprocess.run(list(map(str, words)), cwd=cwd, capture_output=True, text=True, timeout=110, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(source: Path, target: Path, *options: str, variables: dict[str, str] | None = None) -> None:
    """With the backend that is installed here, so nothing is fetched."""
    options = ("--no-build-isolation", "--python", sys.executable, "--out-dir", str(target), *options)
    run(sys.executable, "-m", "uv", "build", "--quiet", *options, cwd=source, variables=variables)


@dataclass(frozen=True)
class Built:
    """A copy of the checkout and what was built from it."""

    checkout: Path
    sdist: Path
    wheel: Path

    @property
    def files(self) -> dict[str, bytes]:
        """What the wheel holds."""
        return contents(self.wheel)

    @property
    def metadata(self) -> Message:
        """What the wheel says about itself."""
        ((_, text),) = [(name, text) for name, text in self.files.items() if name.endswith(".dist-info/METADATA")]
        return Parser().parsestr(text.decode())


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    checkout, target = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("dist")
    without = shutil.ignore_patterns(*LEFT_OUT)
    for name in COPIED:
        shutil.copytree(ROOT / name, checkout / name, symlinks=True, ignore=without)
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", ".gitignore", "manage.py", "hatch_build.py"):
        shutil.copy(ROOT / name, checkout)
    for name in STRAY:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("nobody's business")
    build(checkout, target)
    (sdist,), (wheel,) = target.glob("*.tar.gz"), target.glob("*.whl")
    return Built(checkout, sdist, wheel)


def meant(checkout: Path) -> set[str]:
    """The files that a wheel is to have, by what lies in `flotilla/`, links followed."""
    files = {
        f"{Path(folder).relative_to(checkout)}/{name}"
        for folder, _, names in os.walk(checkout / "flotilla", followlinks=True)
        for name in names
        if not {*LEFT_OUT}.intersection(Path(folder).parts) and not name.endswith((".pyc", ".so"))
    }
    rule_tests = {name for name in files if name.startswith("flotilla/monitoring/prometheus/tests/")}
    assert len(rule_tests) >= 5
    return files - rule_tests


def test_the_wheel_has_the_files_of_the_packages_and_no_others(built: Built) -> None:
    """No other name at its top, nothing that merely lay there; links have become what they lead to. And the native
    part, of what it is compiled of here."""
    of_itself = {name for name in built.files if name.split("/")[0].endswith(".dist-info")}
    assert built.files.keys() - of_itself == meant(built.checkout) | {COMPILED}
    assert built.files[COMPILED].startswith((b"\x7fELF", b"\xcf\xfa\xed\xfe"))
    assert len(meant(built.checkout)) > 400


@pytest.mark.parametrize("kind", KINDS)
def test_the_wheel_has_every_kind_of_file(built: Built, kind: str) -> None:
    assert KINDS[kind] in built.files


def test_a_wheel_of_a_checkout_is_the_wheel_of_the_sdist(built: Built, tmp_path: Path) -> None:
    """`uv build` made the first from the sdist."""
    build(built.checkout, tmp_path, "--wheel")
    (other,) = tmp_path.glob("*.whl")
    assert contents(other) == built.files


def test_a_wheel_with_the_native_part_is_for_this_kind_of_machine_and_every_python_from_3_11(built: Built) -> None:
    assert "-cp311-abi3-" in built.wheel.name
    assert not built.wheel.name.endswith("-any.whl")


@pytest.mark.parametrize("variables", [WITHOUT_COMPILER, PURE], ids=["no compiler", "not wanted"])
def test_without_the_native_part_the_wheel_is_the_same_for_all(
    built: Built, tmp_path: Path, variables: dict[str, str]
) -> None:
    build(built.checkout, tmp_path, "--wheel", variables=variables)
    (pure,) = tmp_path.glob("*-py3-none-any.whl")
    assert contents(pure).keys() == built.files.keys() - {COMPILED}


def test_the_sdist_has_real_files_and_nothing_stray(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        members = archive.getmembers()
    assert [member.name for member in members if not member.isfile()] == []
    names = {member.name.partition("/")[2] for member in members}
    beside = {"hatch_build.py", ".gitignore", "CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}
    assert names == meant(built.checkout) | beside


def test_the_distribution_says_what_it_is(built: Built) -> None:
    metadata = built.metadata
    assert metadata["Name"] == "django-flotilla"
    assert metadata["Version"] == flotilla.__version__
    assert metadata["License-Expression"] == "MIT"
    for name in metadata.get_all("License-File", []):
        (text,) = [text for path, text in built.files.items() if path.endswith(f".dist-info/licenses/{name}")]
        assert text == (built.checkout / name).read_bytes()
    assert {path.name for path in ROOT.glob("*/static/**/*LICENSE*")} <= {
        Path(name).name for name in metadata.get_all("License-File", [])
    }


def test_what_other_programs_load_is_in_the_wheel(built: Built) -> None:
    """The entry points, as of a pytest plugin."""
    for group in PROJECT.get("entry-points", {}).values():
        for target in group.values():
            assert target.partition(":")[0].replace(".", "/") + ".py" in built.files


# Its core, in an environment that has nothing else


@dataclass(frozen=True)
class Host:
    """A project of somebody else's, with the wheel and what it depends on, and no extra."""

    python: Path
    folder: Path

    def ask(self, code: str, *words: str) -> dict[str, Any]:
        """What code prints in a process of the project; warnings are errors there too."""
        answer: dict[str, Any] = json.loads(run(self.python, "-W", "error", "-c", code, *words, cwd=self.folder))
        return answer


@pytest.fixture(scope="module")
def host(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Host:
    folder = tmp_path_factory.mktemp("host")
    run(sys.executable, "-m", "uv", "venv", "--quiet", "--python", sys.executable, folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    run(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", python, built.wheel, cwd=folder)
    for name, text in (("host_settings", SETTINGS), ("host_urls", URLS)):
        (folder / f"{name}.py").write_text(text)
    return Host(python, folder)


def test_the_core_depends_on_no_extra(host: Host) -> None:
    """And what it depends on fits together."""
    run(sys.executable, "-m", "uv", "pip", "check", "--python", host.python, cwd=host.folder)
    command = (sys.executable, "-m", "uv", "pip", "list", "--format", "json", "--python", host.python)
    there = {package["name"] for package in json.loads(run(*command, cwd=host.folder))}
    assert "django-flotilla" in there
    assert there.isdisjoint(
        {"daphne", "twisted", "autobahn", "httptools", "django-prometheus", "django-ratelimit", "websockets"}
        | {"whitenoise", "dj-database-url", "cryptography", "psycopg", "lupa", "opentelemetry-api"}
    )


@pytest.mark.parametrize(("pure", "runs"), [("", "native"), ("1", "python")])
def test_the_native_part_runs_unless_it_is_not_wanted(host: Host, pure: str, runs: str) -> None:
    """Where the wheel was installed, which needs no compiler."""
    asked = "from flotilla.speedups import IMPLEMENTATION; print(IMPLEMENTATION)"
    variables = {"FLOTILLA_PURE_PYTHON": pure}
    assert run(host.python, "-W", "error", "-c", asked, cwd=host.folder, variables=variables).strip() == runs


def test_every_module_can_be_imported_or_is_of_an_extra(host: Host) -> None:
    found = host.ask(IMPORT_ALL)
    assert len(found) > 250
    lacking = {name for name, fault in found.items() if fault and not name.startswith(WITH_LUA)}
    assert lacking - LOADED_BY_OTHERS == OF_AN_EXTRA.keys()
    for name in ENTRANCES:
        assert f'pip install "django-flotilla[{OF_AN_EXTRA[name]}]"' in found[name]


@pytest.fixture(scope="module")
def said(host: Host) -> dict[str, Any]:
    """What the project says when it is asked for a page, checked, and given commands."""
    return host.ask(TRY, json.dumps(list(WITHOUT)))


def test_a_page_is_answered_without_the_middlewares_extras(said: dict[str, Any]) -> None:
    assert said["page"] == "200 a page"


def test_a_middleware_that_counts_nothing_is_named(said: dict[str, Any]) -> None:
    (warning,) = said["check"]
    assert "flotilla_monitoring.W002" in warning
    assert 'pip install "django-flotilla[metrics]"' in warning


def test_the_models_want_nothing_of_a_projects_settings(said: dict[str, Any]) -> None:
    """As DEFAULT_AUTO_FIELD, which is another one in older Djangos: no warning, no migration of ours in the project."""
    assert said["models"] == []


@pytest.mark.parametrize("words", WITHOUT, ids="_".join)
def test_a_command_says_in_one_sentence_what_it_lacks(said: dict[str, Any], words: tuple[str, ...]) -> None:
    assert WITHOUT[words] in said[words[0]]
    assert "\n" not in said[words[0]]


def test_the_extras_are_those_that_are_told_about() -> None:
    extras = PROJECT["optional-dependencies"]
    assert {*OF_AN_EXTRA.values(), "metrics", "jwt", "postgres", "testing"} <= extras.keys()
    (everything,) = extras["all"]
    assert everything == f"django-flotilla[{','.join(name for name in extras if name != 'all')}]"
