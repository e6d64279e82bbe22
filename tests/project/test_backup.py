"""A backup holds the database and the secrets, and a restore takes all of it or changes nothing."""

import io
import os
import sqlite3
import stat
import tarfile
from pathlib import Path
from typing import Any

import dj_database_url
import psycopg
import pytest

from project.backup import CannotBackUp, back_up, restore
from tests.host.support.postgres import Postgres, programs


@pytest.fixture
def database(tmp_path: Path) -> dict[str, Any]:
    """One with a row, written as the instances do, that is in the WAL alone."""
    path = tmp_path / "db.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE kept (name TEXT)")
        connection.execute("INSERT INTO kept VALUES ('ann')")
    connection.close()
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": path}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "key").write_text("the key")
    return {"DJANGO_SECRET_KEY_FILE": str(tmp_path / "key"), "REALTIME_API_KEYS_FILE": str(tmp_path / "no such file")}


def rows(database: dict[str, Any]) -> list[Any]:
    connection = sqlite3.connect(database["NAME"])
    try:
        return [name for (name,) in connection.execute("SELECT name FROM kept ORDER BY name")]
    finally:
        connection.close()


def add(database: dict[str, Any], name: str) -> sqlite3.Connection:
    """A row, and the connection that wrote it, which keeps the WAL open."""
    connection = sqlite3.connect(database["NAME"])
    connection.execute("INSERT INTO kept VALUES (?)", [name])
    connection.commit()
    return connection


def test_what_was_there_comes_back_and_what_came_later_goes(
    tmp_path: Path, database: dict[str, Any], environment: dict[str, str]
) -> None:
    """With what is only in the WAL of a database that is open, and without that of the one that goes."""
    writer, kept = add(database, "bob"), io.BytesIO()
    assert back_up(kept, database, environment) == ["database.sqlite3", "secrets/DJANGO_SECRET_KEY"]
    writer.close()
    later = add(database, "later")
    (tmp_path / "key").unlink()
    kept.seek(0)
    assert restore(kept, database, environment) == ["database.sqlite3", "secrets/DJANGO_SECRET_KEY"]
    assert rows(database) == ["ann", "bob"]
    later.close()
    assert rows(database) == ["ann", "bob"]
    assert (tmp_path / "key").read_text() == "the key"
    for path in (tmp_path / "key", database["NAME"]):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".backup-")] == []


def archive(**content: bytes) -> io.BytesIO:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, data in content.items():
            about = tarfile.TarInfo(name.replace("__", "."))
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
    return io.BytesIO(made.getvalue())


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (io.BytesIO(b"no tar at all" * 100), "this is no backup"),
        (archive(other=b"x"), "there is no database.sqlite3 in it"),
        (archive(database__dump=b"of another server"), "of another kind of database"),
    ],
)
def test_what_is_no_backup_changes_nothing(
    source: io.BytesIO, says: str, database: dict[str, Any], environment: dict[str, str]
) -> None:
    source.seek(0)
    with pytest.raises(CannotBackUp, match=says):
        restore(source, database, environment)
    assert rows(database) == ["ann"]


def test_a_damaged_database_is_not_put_back(database: dict[str, Any], environment: dict[str, str]) -> None:
    with pytest.raises((CannotBackUp, sqlite3.DatabaseError)):
        restore(archive(database__sqlite3=b"SQLite format 3\0" + b"\1" * 4096), database, environment)
    assert rows(database) == ["ann"]


def test_a_database_of_postgresql_comes_back_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its own programs, of the same version as the server."""
    if (folder := programs()) is None:
        pytest.skip("no PostgreSQL on this machine")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    server = Postgres(tmp_path, folder)
    server.start()
    try:
        database = dj_database_url.parse(f"postgres://bazaar@{server.address}/bazaar")
        address, kept = f"postgresql://bazaar@{server.address}/bazaar", io.BytesIO()
        with psycopg.connect(address, autocommit=True) as asked:
            asked.execute("CREATE TABLE kept (name TEXT)")
            asked.execute("INSERT INTO kept VALUES ('ann')")
            assert back_up(kept, database, {}) == ["database.dump"]
            asked.execute("DELETE FROM kept")
        kept.seek(0)
        assert restore(kept, database, {}) == ["database.dump"]
        with psycopg.connect(address, autocommit=True) as asked:
            assert asked.execute("SELECT name FROM kept").fetchall() == [("ann",)]
        with pytest.raises(CannotBackUp, match="pg_restore ended with"):
            restore(archive(database__dump=b"no dump"), database, {})
    finally:
        server.stop()


def test_there_is_no_backup_of_what_is_not_there(tmp_path: Path) -> None:
    """SQLite would make an empty one."""
    missing = {"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "no.sqlite3"}
    with pytest.raises(CannotBackUp, match="there is no database"):
        back_up(io.BytesIO(), missing, {})
    assert not (tmp_path / "no.sqlite3").exists()


def test_another_kind_of_database_is_left_to_its_own_programs() -> None:
    with pytest.raises(CannotBackUp, match="by its own programs"):
        back_up(io.BytesIO(), {"ENGINE": "django.db.backends.mysql", "NAME": "x"}, {})
