"""Reads environment variables, and remembers each that is wrong instead of raising.

A wrong variable gives its default, so that the settings load and the system checks can name every fault at once, each
with its mend (`project.checks`). An empty variable counts as unset. No problem repeats a value that may be a secret.
Any variable can be given as a file instead, whose path is in the variable with `_FILE` behind its name.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import dj_database_url

from flotilla.problems import Problem
from flotilla.store.urls import checked_url, checked_urls

Value = TypeVar("Value")

REDIS_MEND = (
    "Write redis://:password@host:6379/0, rediss://…, unix:///path or redis+sentinel://host:26379,host:26379/master/0; "
    "in user names and passwords everything but letters and digits is percent-encoded."
)
_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}
_INSTANCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_WHOLE = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_SIZE = re.compile(r"(\d{1,15}) ?(|B|KB|MB|GB)", re.ASCII | re.IGNORECASE)
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_ROOT_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+", re.ASCII)
_DECIMAL = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)


@dataclass(slots=True)
class Environment:
    """The variables of a process, read by name."""

    values: Mapping[str, str] = field(repr=False)  # secrets among them
    problems: list[Problem] = field(default_factory=list)

    def text(self, name: str, default: str = "") -> str:
        """The value without surrounding blanks, or that of its file, or the default when unset."""
        return self.values.get(name, "").strip() or self._from_file(f"{name}_FILE") or default

    def items(self, name: str) -> list[str]:
        """The parts of a comma list."""
        return [item.strip() for item in self.text(name).split(",") if item.strip()]

    def flag(self, name: str, default: bool = False) -> bool:
        """A yes or no."""

        def read(value: str) -> bool:
            if value.lower() not in _TRUE | _FALSE:
                raise ValueError(f"{value!r} is neither yes nor no")
            return value.lower() in _TRUE

        return self._read(name, default, read, "Write 1 or 0.")

    def integer(self, name: str, default: int, least: int, most: int) -> int:
        """A whole number between two bounds, both included."""

        def read(value: str) -> int:
            if not _WHOLE.fullmatch(value) or not least <= int(value) <= most:
                raise ValueError(f"{value!r} is not a whole number from {least} to {most}")
            return int(value)

        return self._read(name, default, read, f"Write one, for example {default}.")

    def seconds(self, name: str, default: float, most: float) -> float:
        """A number of seconds from 0."""

        def read(value: str) -> float:
            if not _DECIMAL.fullmatch(value) or float(value) > most:
                raise ValueError(f"{value!r} is not a number of seconds from 0 to {most:g}")
            return float(value)

        return self._read(name, default, read, f"Write one, for example {default:g}.")

    def size(self, name: str, default: int) -> int:
        """A number of bytes, as 10MB."""
        return self._read(name, default, _bytes, "Write a number of bytes, or 500KB, 10MB, 1GB.")

    def sizes_of_paths(self, name: str) -> list[tuple[str, int]]:
        """Sizes for what begins with a path: `/upload/=1GB,/import/=100MB`."""

        def read(value: str) -> list[tuple[str, int]]:
            pairs = [item.strip().partition("=") for item in value.split(",") if item.strip()]
            if wrong := [path for path, _, _ in pairs if not path.startswith("/")]:
                raise ValueError(f"{wrong[0]!r} is not a path")
            return [(path.strip(), _bytes(size.strip())) for path, _, size in pairs]

        return self._read(name, [], read, "Write paths and sizes, for example /upload/=1GB,/import/=100MB.")

    def root_path(self, name: str) -> str:
        """The path that a whole site lies under, "" for none."""

        def read(value: str) -> str:
            value = value.rstrip("/")
            parts = value.split("/")
            if value and (not _ROOT_PATH.fullmatch(value) or "." in parts or ".." in parts):
                raise ValueError(f"{value!r} is not a path that a site can have")
            return value

        return self._read(name, "", read, "Begin with a slash and end without one, for example /realtime.")

    def instance(self, name: str, default: str) -> str:
        """A name for logs, metrics and Redis keys."""

        def read(value: str) -> str:
            if not _INSTANCE.fullmatch(value):
                raise ValueError(f"{value!r} cannot name an instance")
            return value

        mend = "Use at most 64 letters, digits, `.`, `_` and `-`, beginning with a letter or digit, for example web-1."
        return self._read(name, default if _INSTANCE.fullmatch(default) else "flotilla", read, mend)

    def redis(self, name: str, default: list[str]) -> list[str]:
        """One or several Redis addresses, separated by commas."""
        return self._read(name, default, checked_urls, REDIS_MEND)

    def one_redis(self, name: str, default: str) -> str:
        """One Redis address."""
        return self._read(name, default, checked_url, REDIS_MEND)

    def database(self, name: str, default: str) -> Any:
        """A database address, as an entry of Django's DATABASES."""

        def read(value: str) -> Any:
            try:
                return dj_database_url.parse(value)
            except ValueError as error:  # its text may hold the password
                raise ValueError(f"it is not a database address ({type(error).__name__})") from None

        mend = "Write sqlite:////path/db.sqlite3, postgres://user:password@host:5432/name or mysql://…."
        return self._read(name, None, read, mend) or dj_database_url.parse(default)

    def _from_file(self, name: str) -> str:
        path = self.values.get(name, "").strip()
        try:
            return Path(path).read_text().strip() if path else ""
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not text"
            # not by its name: where the secret itself was written instead of its file's path, that would be shown
            problem = Problem(name, f"the file cannot be read: {why}", "Write its path: is it readable for this user?")
            if problem not in self.problems:  # a variable may be read more than once
                self.problems.append(problem)
            return ""

    def _read(self, name: str, default: Value, read: Callable[[str], Value], hint: str) -> Value:
        """What `read` makes of the variable; a ValueError is a problem, and gives the default."""
        value = self.text(name)
        if not value:
            return default
        try:
            return read(value)
        except ValueError as error:
            self.problems.append(Problem(name, str(error), hint))
            return default


def _bytes(value: str) -> int:
    size = _SIZE.fullmatch(value)
    if size is None:
        raise ValueError(f"{value!r} is not a size")
    return int(size.group(1)) * _UNITS[size.group(2).upper()]
