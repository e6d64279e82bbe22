"""A project without Django's admin, sessions and messages: Flotilla's apps ask for none of them."""

from pathlib import Path

from tests.tiny_projects.tiny import TinyProject

BARE = """
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", *flotilla.apps()]
MIDDLEWARE = []
TEMPLATES = []
"""
URLS = """
from django.urls import include, path
urlpatterns = [path("", include("flotilla.realtime.api.urls"))]
"""


def test_it_is_checked_migrated_and_answers(tmp_path: Path, redis_url: str) -> None:
    project = TinyProject(tmp_path / "bare", redis_url, BARE, URLS)
    assert "no issues" in project.manage("check")
    said = project.manage("block", "--user", "ann", "--seconds", "60", status=3)
    assert said.startswith("CommandError: The user cannot be looked up, the database does not answer: no such table")
    assert "user: id 7\n" in project.manage("block", "--user", "id:7", "--seconds", "60")
    project.manage("migrate", "-v0")
    told = project.told(
        """
        import sys
        from django.test import Client
        answer = Client().post("/api/info", "{}", "application/json", headers={"X-API-Key": "k" * 32})
        tables = django.db.connection.introspection.table_names()
        imported = [name for name in sys.modules if name.startswith("django.contrib.")]
        print(json.dumps([answer.status_code, answer.json(), tables, imported]))
        """
    )
    status, body, tables, imported = told
    assert (status, list(body)) == (200, ["result"])
    assert "ratelimit_personallimit" in tables
    assert not [name for name in imported if name.split(".")[2] in ("admin", "messages")]
    assert "user: ann (id 1)" in _with_ann(project).manage("block", "--user", "ann", "--seconds", "60")


def _with_ann(project: TinyProject) -> TinyProject:
    project.told('from django.contrib.auth.models import User; print(User.objects.create_user("ann").pk)')
    return project


def test_a_session_cookie_says_nothing(tmp_path: Path, redis_url: str) -> None:
    """Some other application of the same host may have set it."""
    project = TinyProject(tmp_path / "bare", redis_url, BARE + 'FLOTILLA["allowed_origins"] = ["*"]', URLS)
    told = project.told(
        """
        import asyncio
        from flotilla.realtime.access.sessions import identity_from_session
        headers = [(b"cookie", b"sessionid=" + b"x" * 32), (b"host", b"localhost")]
        print(json.dumps(asyncio.run(identity_from_session({"headers": headers}))))
        """
    )
    assert told is None
