"""Options that are numbers: each has bounds, of every command of ours. Commands are found, not listed."""

from argparse import Action, ArgumentError, ArgumentParser
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import BaseCommand, load_command_class

from flotilla.realtime.command_names import our_commands

OF_DJANGO = {action.dest for action in BaseCommand().create_parser("manage.py", "any")._actions}


def parsers() -> Iterator[tuple[str, ArgumentParser]]:
    """The parser of each command, and those of its own commands."""
    for name, app in sorted(our_commands().items()):
        parser = load_command_class(app, name).create_parser("manage.py", name)
        yield name, parser
        for action in parser._actions:
            if isinstance(action.choices, dict):
                yield from ((name, inner) for inner in action.choices.values())


NUMBERS = [
    (name, parser, action)
    for name, parser in parsers()
    for action in parser._actions
    if action.type not in (None, str, Path) and action.dest not in OF_DJANGO
]


@pytest.mark.parametrize(
    ("name", "parser", "action"), NUMBERS, ids=[f"{name} {action.dest}" for name, _, action in NUMBERS]
)
def test_a_number_has_bounds(name: str, parser: ArgumentParser, action: Action) -> None:
    """What is none, or beyond them, is refused before anything is done, in words that say what is possible."""
    for text in ("nan", "inf", "-inf", "1e999", "-1", "9" * 400, "", "x"):
        with pytest.raises(ArgumentError, match=r" from \d\S* to \d|30min"):
            parser._get_values(action, [text])  # type: ignore[attr-defined]


def test_numbers_are_found() -> None:
    found = [(name, action.dest) for name, _, action in NUMBERS]
    assert ("reshard", "within") in found
    assert {"block", "disconnect", "loadtest", "plan", "ratelimit", "serve", "top"} <= {name for name, _ in found}
