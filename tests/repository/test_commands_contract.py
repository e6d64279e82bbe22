"""What all our commands have in common, whichever there are: help with examples, exit statuses, `--json`, keys.

They are found, not listed: a command that is added has to keep to this. What they print and how they end is seen in
`tests/realtime/management/test_every_command.py`.
"""

import re
import shlex
from io import StringIO
from pathlib import Path

import pytest
from django.apps import apps
from django.core.management import find_commands, load_command_class
from django.core.management.base import BaseCommand

from docs.site.pages import ROOT
from flotilla.command_line import MEANINGS, OurCommand, Status

DOCUMENT = (ROOT / "docs" / "COMMANDS.md").read_text()


def all_commands() -> list[tuple[str, str]]:
    """Every command of this checkout: the platform's, the service's and the examples', as (name, app)."""
    found = []
    for app in apps.get_app_configs():
        path = Path(app.path)
        if path.resolve().is_relative_to(ROOT) and not {".venv", "tests"} & set(path.resolve().relative_to(ROOT).parts):
            found += [(name, app.name) for name in find_commands(str(path / "management"))]
    return sorted(found)


COMMANDS = all_commands()
EVERY = pytest.mark.parametrize(("name", "app"), COMMANDS, ids=lambda value: str(value).rpartition(".")[2])


def test_they_are_found() -> None:
    assert len(COMMANDS) > 25
    assert {("serve", "project"), ("make_rooms", "examples.rooms"), ("ratelimit", "flotilla.ratelimit")} <= set(
        COMMANDS
    )


def made(name: str, app: str) -> BaseCommand:
    return load_command_class(app, name)


@EVERY
def test_it_is_one_of_ours_with_help(name: str, app: str) -> None:
    command = made(name, app)
    assert isinstance(command, OurCommand)
    assert command.help.endswith(".") and len(command.help) > 20
    for action in command.create_parser("manage.py", name)._actions:
        assert action.help, f"{action.dest} says nothing"


@EVERY
def test_its_examples_are_in_its_help_and_can_be_parsed(name: str, app: str) -> None:
    command = made(name, app)
    assert isinstance(command, OurCommand)
    assert command.examples
    parser = command.create_parser("manage.py", name)
    shown = parser.format_help()
    for words, meaning in command.examples:
        assert meaning
        assert re.search(re.escape(f"  manage.py {name} {words}".rstrip()) + rf" *# {re.escape(meaning)}\n", shown)
        parser.parse_args(shlex.split(words))


@EVERY
def test_it_takes_json_in_each_of_its_forms(name: str, app: str) -> None:
    """Before or behind what else it is given."""
    command = made(name, app)
    assert isinstance(command, OurCommand)
    parser = command.create_parser("manage.py", name)
    assert parser.parse_args(["--json", *shlex.split(command.examples[-1][0])]).as_json is True
    for words, _ in command.examples:
        if name != "flotilla":  # what follows there is another command's
            assert parser.parse_args([*shlex.split(words), "--json"]).as_json is True
        assert parser.parse_args(shlex.split(words)).as_json is ("--json" in words and name != "flotilla")


@EVERY
def test_its_exit_statuses_and_keys_are_said(name: str, app: str) -> None:
    """In its help and, for the platform's commands, in the document."""
    command = made(name, app)
    assert isinstance(command, OurCommand)
    meanings = command.meanings()
    assert {Status.DONE, Status.USAGE} <= meanings.keys() <= set(Status)
    assert command.shape
    parser = command.create_parser("manage.py", name)
    shown = parser.format_help()
    section = re.search(rf"^### {name}\n(.*?)(?=^### |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL)
    if app.startswith("flotilla.") and name != "flotilla":
        assert section is not None
    for status, meaning in meanings.items():
        assert f"  {int(status)}  {meaning}" in shown
        said = f"{int(status)} ({meaning})" if meaning != MEANINGS[status] else f"{int(status)}"
        assert section is None or app == "project" or said in section[1]
    for text in command.keys_in_words():
        assert f"  {text}" in shown


def ended(command: BaseCommand, name: str, *words: str) -> int:
    """The exit status that a shell sees."""
    try:
        command.run_from_argv(["manage.py", name, *words])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@EVERY
def test_a_line_that_is_not_understood_ends_with_2(name: str, app: str, capfd: pytest.CaptureFixture[str]) -> None:
    """And is answered on standard error."""
    assert ended(made(name, app), name, "--no-such-option") == Status.USAGE
    told = capfd.readouterr()
    assert told.err and not told.out


def test_a_key_that_is_not_said_cannot_be_told() -> None:
    """So that what is documented is what is printed: all of it, in order, and nothing else."""

    class Small(OurCommand):
        """Of this test."""

        shape = {"a": (), "b": ()}

    out = StringIO()
    command = Small(stdout=out)
    command.tell({"b": 1})
    assert out.getvalue() == '{\n  "a": null,\n  "b": 1\n}\n'
    with pytest.raises(AssertionError, match="'c' is not in the shape"):
        command.tell({"c": 1})
