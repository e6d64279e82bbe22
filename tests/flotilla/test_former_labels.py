"""A database of a version whose apps had bare labels keeps its limits, permissions and log when it is migrated."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FORMER = Path(__file__).with_suffix("").with_name("former_labels.sql")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Such a database: ann with a personal limit and a permission, a group of moderators, an entry in the log."""
    path = tmp_path / "db.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(FORMER.read_text())
    return path


def manage(database: Path, *command: str, settings: str = "project.settings") -> str:
    """Run manage.py on the database, which may lie beside other settings; gives what it printed."""
    environment = {
        "PATH": os.environ["PATH"],
        "DJANGO_SETTINGS_MODULE": settings,
        "DJANGO_SECRET_KEY": "a secret key of this test, which is long enough to be one",
        "REALTIME_TOKEN_SECRET": "a token secret of this test, which is long enough",
        "DATABASE_URL": f"sqlite:///{database}",
        "FLOTILLA_VAR": str(database.parent / "var"),
        "PYTHONPATH": f"{database.parent}{os.pathsep}{ROOT}",
    }
    done = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *command],
        cwd=database.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(database: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchall()


def labels(database: Path) -> set[object]:
    return {label for (label,) in rows(database, "SELECT app_label FROM django_content_type")}


WHO_MAY = """
SELECT g.name, c.app_label, p.codename FROM auth_group_permissions gp
JOIN auth_group g ON g.id = gp.group_id JOIN auth_permission p ON p.id = gp.permission_id
JOIN django_content_type c ON c.id = p.content_type_id
UNION SELECT u.username, c.app_label, p.codename FROM auth_user_user_permissions up
JOIN auth_user u ON u.id = up.user_id JOIN auth_permission p ON p.id = up.permission_id
JOIN django_content_type c ON c.id = p.content_type_id ORDER BY 1, 2
"""
LOGGED = """
SELECT c.app_label, c.model, l.change_message FROM django_admin_log l
JOIN django_content_type c ON c.id = l.content_type_id
"""


def test_everything_is_carried_over(database: Path) -> None:
    manage(database, "migrate", "-v0")
    assert labels(database).isdisjoint({"realtime", "ratelimit", "monitoring"})
    assert rows(database, WHO_MAY) == [
        ("ann", "flotilla_ratelimit", "change_personallimit"),
        ("ann", "flotilla_realtime", "view_connection"),
        ("moderators", "flotilla_realtime", "control_channel"),
    ]
    assert rows(database, "SELECT policy, rate, note FROM ratelimit_personallimit") == [("users", "5/m", "kept")]
    assert [row[:2] for row in rows(database, LOGGED)] == [("flotilla_ratelimit", "personallimit")]
    assert not rows(database, "SELECT 1 FROM django_migrations WHERE app IN ('realtime', 'ratelimit', 'monitoring')")
    manage(database, "migrate", "--check")


def test_it_can_be_taken_back(database: Path) -> None:
    manage(database, "migrate", "-v0")
    for app in ("flotilla_realtime", "flotilla_monitoring"):
        manage(database, "migrate", app, "zero", "-v0")
    assert "realtime" in {label for _, label, _ in rows(database, WHO_MAY)}


def test_a_label_that_is_another_apps_today_is_left_alone(database: Path) -> None:
    """A project may have a `monitoring` of its own."""
    settings = "from project.settings import *\nINSTALLED_APPS = [*INSTALLED_APPS, 'shop.monitoring']\n"
    (database.parent / "shop" / "monitoring").mkdir(parents=True)
    for file, text in {"__init__.py": "", "monitoring/__init__.py": "", "settings.py": settings}.items():
        (database.parent / "shop" / file).write_text(text)
    manage(database, "migrate", "-v0", settings="shop.settings")
    assert "monitoring" in labels(database)


def test_a_new_database_needs_none_of_it(tmp_path: Path) -> None:
    database = tmp_path / "db.sqlite3"
    manage(database, "migrate", "-v0")
    assert rows(database, "SELECT count(*) FROM ratelimit_personallimit") == [(0,)]
    assert "flotilla_realtime" in labels(database)
