"""Puts another secret in the place of one in three steps, so that nobody is refused while instances differ by a step.

    add      a new one is made; every instance accepts it beside the old one. Before `switch` it may be repeated
    switch   the new one signs, and the old one is still accepted
    drop     the old one is accepted no more

Every instance is started again after each step (`deploy/procedures/rotate-secret.sh`). Works on the files that the
environment names, as `DJANGO_SECRET_KEY_FILE`. At every moment the files together hold both secrets, whenever an
instance reads them.
"""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flotilla.realtime.server.private_files import UMASK

ROTATED = {
    "secret_key": ("DJANGO_SECRET_KEY", "DJANGO_SECRET_KEY_FALLBACKS"),
    "token_secret": ("REALTIME_TOKEN_SECRET", "REALTIME_TOKEN_SECRET_FALLBACKS"),
    "api_keys": ("REALTIME_API_KEYS", None),  # a list by itself: its first is the one that callers use
}
STEPS = ("add", "switch", "drop")


class CannotRotate(Exception):
    """The step cannot be done; the text says why, and what to do instead."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """The files of one secret: the one in use, and those that are accepted beside it (the same file where None)."""

    used: Path
    accepted: Path | None

    @classmethod
    def of(cls, name: str, environment: Mapping[str, str]) -> "Rotation":
        """That of a secret, by what the environment says. Raises CannotRotate."""
        used, accepted = ROTATED[name]
        return cls(_file(used, environment), _file(accepted, environment) if accepted else None)

    def do(self, step: str) -> None:
        """Do one of STEPS. Raises CannotRotate where it is not its turn, OSError where a file cannot be written."""
        first, *others = self.read()
        if step == "add":
            if others and self._mark.exists():
                return  # again, after an interruption before `switch`
            if others:
                raise CannotRotate("there are two already: a rotation is under way, and has to be ended by `drop`")
            self._write(first, [secrets.token_hex(32)])
            self._mark.touch(mode=0o600)
        elif step == "switch":
            if not self._mark.exists() or len(others) != 1:
                raise CannotRotate("none was added that would not be in use already: begin with `add`")
            self._write(others[0], [first])
            self._mark.unlink()
        else:
            if self._mark.exists():
                raise CannotRotate("the new one is not in use yet: `switch` comes first")
            self._write(first, [])

    def read(self) -> list[str]:
        """The secret in use, then the others that are accepted. Raises CannotRotate where there is none."""
        found = _items(self.used)
        if not found:
            raise CannotRotate(f"{self.used} holds no secret: `manage.py prepare` makes it")
        if self.accepted is None:
            return found
        if len(found) > 1:  # the list of those that are accepted would take it for two
            raise CannotRotate(f"the secret in {self.used} has a comma in it: replace it once by hand")
        return found + _items(self.accepted)

    @property
    def _mark(self) -> Path:
        """Is there while a secret was added and is not in use yet."""
        return self.used.with_name(f"{self.used.name}.added")

    def _write(self, first: str, others: list[str]) -> None:
        if self.accepted is None:
            _replace(self.used, [first, *others])
            return
        _replace(self.accepted, [*{first, *self.read(), *others}])  # both, while the other file changes
        _replace(self.used, [first])
        _replace(self.accepted, others)


def _file(variable: str, environment: Mapping[str, str]) -> Path:
    if environment.get(variable, "").strip():
        raise CannotRotate(f"{variable} itself is set, which no command can change: see docs/AUTHENTICATION.md")
    if not (path := environment.get(f"{variable}_FILE", "").strip()):
        raise CannotRotate(f"{variable}_FILE is not set: it names the file to write to")
    return Path(path)


def _items(path: Path) -> list[str]:
    """The comma-separated secrets of a file; none where there is no file."""
    text = path.read_text() if path.exists() else ""
    return [item.strip() for item in text.split(",") if item.strip()]


def _replace(path: Path, items: list[str]) -> None:
    """Whoever reads meanwhile gets all of the old or all of the new."""
    made = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666 & ~UMASK)
    with os.fdopen(descriptor, "w") as file:
        file.write(",".join(items))
        file.flush()
        os.fsync(descriptor)
    made.replace(path)
