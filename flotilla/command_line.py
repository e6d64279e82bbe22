"""What every command of ours shares: examples and exit statuses in its help, and `--json` with keys that stay.

A command says what it prints for machines (`shape`), what its exit statuses mean and how it is used, as data. Its help
and docs/COMMANDS.md are made from that, and a test runs over all commands and compares it with what they do. Imports
nothing of ours: commands of every app are derived from it.
"""

import argparse
import json
import math
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any, ClassVar

from django.core.management.base import BaseCommand, CommandError, CommandParser, DjangoHelpFormatter

JSON_HELP = "for machines: JSON in place of text"


class Status(IntEnum):
    """With what a command ends. `ctrl-c` is the shell's own 130."""

    DONE = 0
    NOT_DONE = 1
    USAGE = 2
    AWAY = 3
    NOT_MEASURED = 4
    FIRES = 5


MEANINGS: Mapping[Status, str] = {
    Status.DONE: "done",
    Status.NOT_DONE: "refused, not found, or done only in part: one sentence on standard error says which",
    Status.USAGE: "the line was not understood",
    Status.AWAY: "what was to be asked does not answer: Redis, the database, an installation",
    Status.NOT_MEASURED: "nothing was measured: the machine was too busy",
    Status.FIRES: "all was looked at, and an alert fires",
}


def misused(text: str) -> CommandError:
    """The line makes no sense, whatever the state of the cluster: to be raised."""
    return CommandError(text, returncode=Status.USAGE)


def away(text: str) -> CommandError:
    """What was to be asked does not answer: to be raised."""
    return CommandError(text, returncode=Status.AWAY)


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """The type of an option: a whole number between two bounds, both included."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
            raise ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return read


def number(least: float, most: float, of: str = "") -> Callable[[str], float]:
    """The type of an option: a number between two bounds, both included; `of` says of what, as in `of seconds`."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise ArgumentTypeError(f"{text!r} is not a number {of}{of and ' '}from {least:.15g} to {most:.15g}")
        return value

    return read


def seconds(least: float, most: float) -> Callable[[str], float]:
    """The same for a time."""
    return number(least, most, "of seconds")


class OurCommand(BaseCommand):
    """A command of ours.

    `examples`: words after the command's name, and what they do; `statuses` beside 0 and 2; `shape`: the keys of the
    JSON document and, for a list of rows, the keys that a row may have. With `lines` it is a document a line.
    """

    examples: ClassVar[Sequence[tuple[str, str]]]
    statuses: ClassVar[Mapping[Status, str]] = {}
    shape: ClassVar[Mapping[str, Sequence[str]]]
    lines: ClassVar[bool] = False

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """As the base's, with `--json` and what `epilog` says."""
        kwargs.setdefault("formatter_class", HelpFormatter)
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        add_json(parser)
        parser.epilog = f"{parser.epilog}\n\n{self.epilog(subcommand)}" if parser.epilog else self.epilog(subcommand)
        return parser

    @classmethod
    def meanings(cls) -> dict[Status, str]:
        """What each exit status of this command means."""
        own = {Status.DONE: MEANINGS[Status.DONE], Status.USAGE: MEANINGS[Status.USAGE], **cls.statuses}
        return dict(sorted(own.items()))

    @classmethod
    def epilog(cls, name: str) -> str:
        """Examples, exit statuses and keys, below the options in its help."""
        lines = [f"{name} {words}".rstrip() for words, _ in cls.examples]
        width = max(map(len, lines))
        says = zip(lines, (meaning for _, meaning in cls.examples), strict=True)
        return "\n".join(
            [
                "examples:",
                *(f"  manage.py {line.ljust(width)}  # {meaning}" for line, meaning in says),
                "",
                "exit status:",
                *(f"  {status}  {meaning}" for status, meaning in cls.meanings().items()),
                "",
                f"--json prints {'a document a line' if cls.lines else 'one document'}:",
                *(f"  {text}" for text in cls.keys_in_words()),
            ]
        )

    @classmethod
    def keys_in_words(cls) -> list[str]:
        """The keys of the document, and a line for the rows of each list."""
        plain = ", ".join(cls.shape)
        return [plain, *(f"{key}, each: {', '.join(inner)}" for key, inner in cls.shape.items() if inner)]

    def tell(self, told: Mapping[str, Any]) -> None:
        """Print a document: every key of `shape`, in its order, null where there is nothing to say."""
        if unknown := told.keys() - self.shape.keys():
            raise AssertionError(f"{min(unknown)!r} is not in the shape of this command")
        self.stdout.write(self.document({key: told.get(key) for key in self.shape}))

    def document(self, told: Mapping[str, Any]) -> str:
        """A document as text, in ASCII: on one line where a line is a document."""
        return json.dumps(told, indent=None if self.lines else 2)


class HelpFormatter(DjangoHelpFormatter):
    """As Django's, but the lines of the epilog stay as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith(("examples:", "commands:")):
            return "\n".join(f"{indent}{line}" for line in text.splitlines())
        return super()._fill_text(text, width, indent)


def add_json(parser: ArgumentParser) -> None:
    """The option `--json` of a parser and of those below it, which may follow either's words."""
    for inner in _below(parser):
        if "--json" not in inner._option_string_actions:
            absent = False if inner is parser else argparse.SUPPRESS
            inner.add_argument("--json", action="store_true", dest="as_json", default=absent, help=JSON_HELP)


def _below(parser: ArgumentParser) -> list[ArgumentParser]:
    found = [parser]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found += [one for inner in action.choices.values() for one in _below(inner)]
    return found
