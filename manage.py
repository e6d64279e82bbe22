#!/usr/bin/env python
"""Django's command line. `manage.py serve` runs the platform, `manage.py flotilla` lists what else there is.

Beside `make run` every command of this checkout works on the demo that runs (`project.running_demo`).
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

OWN_PYTHON = Path(__file__).resolve().parent / ".venv" / "bin" / "python"  # `make` installs what is needed there


def main() -> None:
    """Run the command in sys.argv."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    if sys.argv[1:2] == ["serve"] and "--demo" in sys.argv:
        os.environ["FLOTILLA_DEMO"] = "1"  # the settings are read before a command's options are
    if find_spec("django") is None:
        _go_on_with_our_own_python()
    from django.core.management import execute_from_command_line

    from project.running_demo import found_by_others

    with found_by_others(os.environ, sys.argv[1:]):
        execute_from_command_line(sys.argv)


def _go_on_with_our_own_python() -> None:
    """The system's Python has no Django; the checkout's has."""
    if not OWN_PYTHON.exists() or Path(sys.prefix) == OWN_PYTHON.parents[1]:
        raise SystemExit("Django is not installed here: `make run` installs it into .venv, whose Python this then uses")
    os.execv(OWN_PYTHON, [str(OWN_PYTHON), *sys.argv])


if __name__ == "__main__":
    main()
