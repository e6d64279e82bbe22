"""Lets other commands of this checkout find the demo that runs: they read the same environment as it does.

While `manage.py serve --demo` runs, `var/demo.json` holds the variables it was started with, and the process holds a
lock on that file, which the kernel takes from it however it ends. A command that is started without settings of its own
meanwhile works on the demo; one that has them (a secret key, say) is about another installation and is left alone.
"""

import fcntl
import json
import os
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path

NAME = "demo.json"
ALONE = frozenset({"serve", "prepare", "test", "loadtest", "check_alerts", "prove_dashboards"})
"""Commands that make an installation of their own, or are about another one."""
SETTLES = ("FLOTILLA_DEMO", "DJANGO_SECRET_KEY", "DJANGO_SECRET_KEY_FILE")  # who sets one of these knows what they want
_ROOT = Path(__file__).resolve().parent.parent
_TRUE = {"1", "true", "yes", "on"}


@contextmanager
def found_by_others(environment: MutableMapping[str, str], words: list[str]) -> Iterator[None]:
    """Around a command, `words`: the demo can be found while it runs, and every other command finds it."""
    name = next(iter(words[1:] if words[:1] == ["flotilla"] else words), "")
    path = _folder(environment) / NAME
    if name not in ALONE:
        for key, value in _running(path).items() if _is_open(environment, words) else ():
            environment.setdefault(key, value)
    if name != "serve" or environment.get("FLOTILLA_DEMO", "").lower() not in _TRUE or _running(path):
        yield
        return
    with _left(path, _settings_in(environment)):
        yield


def _is_open(environment: MutableMapping[str, str], words: list[str]) -> bool:
    ours = environment.get("DJANGO_SETTINGS_MODULE") == "project.settings"
    ours = ours and not any(word.partition("=")[0] == "--settings" for word in words)
    return ours and not any(map(environment.get, SETTLES))


def _folder(environment: MutableMapping[str, str]) -> Path:
    return Path(environment.get("FLOTILLA_VAR", "").strip() or _ROOT / "var")


def _settings_in(environment: MutableMapping[str, str]) -> dict[str, str]:
    from project.checks import VARIABLES

    names = {name for variable in VARIABLES for name in (variable, f"{variable}_FILE")}
    return {name: value for name, value in environment.items() if name in names}


def _running(path: Path) -> dict[str, str]:
    """The variables of the demo that runs; none where no demo does."""
    try:
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return dict(json.load(file))
    except OSError:  # there is none, or it is another user's
        pass
    return {}  # nobody holds it: it was left by a demo that was killed


@contextmanager
def _left(path: Path, variables: dict[str, str]) -> Iterator[None]:
    from flotilla.realtime.server.private_files import private_folder

    private_folder(path.parent)
    made = path.with_name(f"{NAME}.{os.getpid()}")
    descriptor = os.open(made, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)  # secrets may be among them
    with os.fdopen(descriptor, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        json.dump(variables, file)
        file.flush()
        made.replace(path)  # whole and locked from the start
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
