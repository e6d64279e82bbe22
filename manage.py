#!/usr/bin/env python
"""Django's command line. `manage.py serve` runs the platform, `manage.py help` lists the rest."""

import os
import sys


def main() -> None:
    """Run the command in sys.argv."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    if sys.argv[1:2] == ["serve"] and "--demo" in sys.argv:
        os.environ["FLOTILLA_DEMO"] = "1"  # the settings are read before a command's options are
    try:
        from django.core.management import execute_from_command_line
    except ImportError as error:
        raise SystemExit(f"{error}: run this with the virtual environment's Python, as `make run` does") from error
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
