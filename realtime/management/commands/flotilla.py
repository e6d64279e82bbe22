"""`manage.py flotilla COMMAND …`: every command of Flotilla, whatever other apps of the project call theirs.

The short names (`manage.py publish`) are Django's doing: of two apps with a command of one name, the one that stands
first in INSTALLED_APPS has it. This one asks Flotilla's own apps alone.
"""

import difflib
import sys
from argparse import REMAINDER, ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management import call_command

from flotilla.command_line import OurCommand, Status, misused
from flotilla.realtime.command_names import SELF, load, our_commands


class Command(OurCommand):
    """Pass the rest of the line on to a command."""

    help = "Run a command of Flotilla by its name, also where another app has a command of that name."
    requires_system_checks = []  # the command that is run asks for its own
    examples = (
        ("", "list the commands"),
        ("help connections", "say more of one"),
        ("connections --user ann", "run one"),
    )
    shape = {"commands": ("name", "help")}

    def run_from_argv(self, argv: list[str]) -> None:
        """`argv` as Django gives it: the program, `flotilla`, the command, its arguments."""
        words = argv[2:]
        name = words[0] if words else ""
        if name in our_commands():
            load(name).run_from_argv([argv[0], f"{argv[1]} {name}", *words[1:]])
        elif name == "help" and words[1:2] and words[1] in our_commands():
            load(words[1]).print_help(argv[0], f"{argv[1]} {words[1]}")
        elif words == ["--json"]:
            self.tell({"commands": _commands()})
        elif not name or name in ("help", "-h", "--help"):
            self.stdout.write(f"usage: {Path(argv[0]).name} {argv[1]} COMMAND …\n\n{self.help}\n\n{_epilog()}")
        else:
            self.stderr.write(f"CommandError: {_unknown(name)}")
            sys.exit(Status.USAGE)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.epilog = _epilog()
        parser.add_argument("words", nargs=REMAINDER, metavar="COMMAND …", help="one of those below, and its arguments")

    def handle(self, *args: Any, words: list[str], **options: Any) -> None:
        """For `call_command`, which does not come by `run_from_argv`."""
        name = words[0] if words else ""
        if name not in our_commands():
            raise misused(_unknown(name))
        call_command(load(name), *words[1:], stdout=self.stdout, stderr=self.stderr)


def _epilog() -> str:
    return "\n".join(["commands:", *_listed(), "", f"`{SELF} help COMMAND` says more of one."])


def _commands() -> list[dict[str, str]]:
    return [{"name": name, "help": str(load(name).help)} for name in sorted(our_commands()) if name != SELF]


def _listed() -> list[str]:
    names = [name for name in sorted(our_commands()) if name != SELF]
    width = max(map(len, names))
    return [f"  {name.ljust(width)}  {_first_sentence(load(name).help)}" for name in names]


def _first_sentence(text: str) -> str:
    return text.partition(". ")[0].partition("; ")[0].removesuffix(".")


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, our_commands(), n=1)
    meant = f" Did you mean {close[0]}?" if close else ""
    return f"There is no command {name!r} of Flotilla.{meant} `flotilla help` lists them."
