"""What must not be lost, in one file and back: the database, and the secrets that are in files.

A backup is a tar file. The database in it is SQLite's own (`database.sqlite3`, taken while everything runs) or
PostgreSQL's `pg_dump` (`database.dump`, with the programs of PostgreSQL on the PATH); each secret is named as its
variable is (`secrets/DJANGO_SECRET_KEY`). Redis is in none: it holds what clients can do without.
"""

import os
import shutil
import sqlite3
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from flotilla.realtime.server.private_files import UMASK

SECRETS = (
    "DJANGO_SECRET_KEY",
    "DJANGO_SECRET_KEY_FALLBACKS",
    "REALTIME_TOKEN_SECRET",
    "REALTIME_TOKEN_SECRET_FALLBACKS",
    "REALTIME_API_KEYS",
)
SQLITE, POSTGRES = "django.db.backends.sqlite3", "django.db.backends.postgresql"
FILES = {SQLITE: "database.sqlite3", POSTGRES: "database.dump"}


class CannotBackUp(Exception):
    """There is no way to do it here, or the backup is none; the text says what to do."""


def back_up(target: BinaryIO, database: Mapping[str, Any], environment: Mapping[str, str]) -> list[str]:
    """Write a backup of a database (an entry of DATABASES) and of the secrets' files; gives the names in it.

    Raises CannotBackUp, OSError, sqlite3.Error.
    """
    name = _file_of(database)
    with _room(database) as home, tarfile.open(fileobj=target, mode="w|") as archive:
        copy = Path(home, name)
        if database["ENGINE"] == SQLITE:
            _copy_sqlite(Path(database["NAME"]), copy)
        else:
            _run_postgres("pg_dump", database, "--format=custom", f"--file={copy}", last=[])
        archive.add(copy, name)
        names = [name]
        for variable, path in _secret_files(environment).items():
            if path.exists():
                names.append(f"secrets/{variable}")
                archive.add(path, names[-1])
        return names


def restore(source: BinaryIO, database: Mapping[str, Any], environment: Mapping[str, str]) -> list[str]:
    """Put back what `back_up` wrote, over what is there; gives the names of what was put back. No instance may run.

    Nothing is changed before the whole backup was read. Raises as `back_up` does.
    """
    name = _file_of(database)
    with _room(database) as home:
        try:
            with tarfile.open(fileobj=source, mode="r|") as archive:
                archive.extractall(home, filter="data")
        except tarfile.TarError as error:
            raise CannotBackUp(f"this is no backup: {error}") from None
        copy = Path(home, name)
        if not copy.exists():
            raise CannotBackUp(f"there is no {name} in it: it is of another kind of database, or no backup")
        if database["ENGINE"] == SQLITE:
            _replace_sqlite(copy, Path(database["NAME"]))
        else:
            how = ("--clean", "--if-exists", "--no-owner", "--single-transaction", "--exit-on-error")
            _run_postgres("pg_restore", database, *how, last=[str(copy)])
        names = [name]
        for variable, path in _secret_files(environment).items():
            kept = Path(home, "secrets", variable)
            if kept.exists():
                names.append(f"secrets/{variable}")
                _put(kept, path)
        return names


def _file_of(database: Mapping[str, Any]) -> str:
    if database["ENGINE"] not in FILES:
        raise CannotBackUp(f"{database['ENGINE']} is backed up by its own programs; copy the secrets' files beside it")
    return FILES[database["ENGINE"]]


def _room(database: Mapping[str, Any]) -> "tempfile.TemporaryDirectory[str]":
    """Where a copy of it has room: beside SQLite's file (/tmp may be memory), otherwise where temporary files go."""
    beside = Path(database["NAME"]).parent if database["ENGINE"] == SQLITE else None
    return tempfile.TemporaryDirectory(prefix=".backup-", dir=beside)


def _secret_files(environment: Mapping[str, str]) -> dict[str, Path]:
    given = {name: environment.get(f"{name}_FILE", "").strip() for name in SECRETS}
    return {name: Path(path) for name, path in given.items() if path}


def _copy_sqlite(database: Path, copy: Path) -> None:
    if not database.exists():
        raise CannotBackUp(f"there is no database {database}")
    connection = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=60)
    try:
        connection.execute("VACUUM INTO ?", [str(copy)])
    finally:
        connection.close()


def _replace_sqlite(copy: Path, database: Path) -> None:
    connection = sqlite3.connect(copy)
    try:
        verdict = connection.execute("PRAGMA integrity_check").fetchone()[0]
    finally:
        connection.close()
    if verdict != "ok":
        raise CannotBackUp(f"the database in it is damaged: {verdict}")
    for name in (f"{database.name}-wal", f"{database.name}-shm"):  # of the one that goes: they would be read into this
        database.with_name(name).unlink(missing_ok=True)
    _put(copy, database)


def _put(source: Path, target: Path) -> None:
    """A private copy, whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    made = target.with_name(f"{target.name}.{os.getpid()}")
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666 & ~UMASK)
    with os.fdopen(descriptor, "wb") as file, source.open("rb") as content:
        shutil.copyfileobj(content, file)
        file.flush()
        os.fsync(descriptor)
    made.replace(target)


def _run_postgres(program: str, database: Mapping[str, Any], *options: str, last: list[str]) -> None:
    """A program of PostgreSQL on this database; the password is in its environment, where others cannot see it."""
    from django.db.backends.postgresql.client import DatabaseClient

    if shutil.which(program) is None:
        raise CannotBackUp(f"{program} is not here: install PostgreSQL's client programs, or run it where they are")
    words, more = DatabaseClient.settings_to_cmd_args_env({"OPTIONS": {}} | dict(database), [])
    where = [*words[1:-1], f"--dbname={words[-1]}"]  # without psql itself
    done = subprocess.run(
        [program, *options, *where, *last], env=os.environ | (more or {}), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise CannotBackUp(f"{program} ended with {done.returncode}: {done.stderr.strip()}")
