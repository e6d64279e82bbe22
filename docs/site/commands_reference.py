"""The reference of every command of `manage.py`, made from the commands' own parsers. Needs Django."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flotilla.command_line import OurCommand

COMMON = {
    "help",
    "version",
    "verbosity",
    "settings",
    "pythonpath",
    "traceback",
    "no_color",
    "force_color",
    "skip_checks",
    "as_json",  # which all have
}


def reference() -> str:
    """A section for each command: what it does, and its arguments with their meaning."""
    from flotilla.realtime.command_names import SELF, our_commands
    from flotilla.realtime.management.commands.flotilla import Command as Dispatcher

    names = [name for name in sorted(our_commands()) if name != SELF]
    return "\n".join(["## All commands", "", _line(SELF, Dispatcher.help), "", *map(_section, names)])


def _line(name: str, text: str) -> str:
    return f"`manage.py {name} COMMAND …`: {text[0].lower()}{text[1:]}"


def _section(name: str) -> str:
    from django.core.management import load_command_class

    from flotilla.command_line import OurCommand
    from flotilla.realtime.command_names import our_commands

    command = load_command_class(our_commands()[name], name)
    assert isinstance(command, OurCommand)
    parser = command.create_parser("manage.py", name)
    return "\n".join(
        [
            *(f"### {name}", "", command.help, "", *_arguments(parser, ""), ""),
            *("```", *_examples(name, command), "```", ""),
            *(f"Exit status: {_statuses(command)}.", ""),
            *(f"`--json` prints {'a document a line' if command.lines else 'one document'}:", ""),
            *(f"- {_keys(text)}" for text in command.keys_in_words()),
            "",
        ]
    )


def _examples(name: str, command: "OurCommand") -> list[str]:
    lines = [f"python manage.py {name} {words}".rstrip() for words, _ in command.examples]
    width = max(map(len, lines))
    return [f"{line.ljust(width)}  # {meaning}" for line, (_, meaning) in zip(lines, command.examples, strict=True)]


def _statuses(command: "OurCommand") -> str:
    """Those that a command has, with their meaning where it is another than that in the table above."""
    from flotilla.command_line import MEANINGS

    own = {status: meaning for status, meaning in command.meanings().items() if meaning != MEANINGS[status]}
    return ", ".join(f"{status} ({own[status]})" if status in own else f"{status}" for status in command.meanings())


def _keys(text: str) -> str:
    """The keys of a document, or of its rows, as code."""
    whose, each, names = text.rpartition(", each: ")
    return (f"`{whose}`{each}" if each else "") + ", ".join(f"`{name}`" for name in names.split(", "))


def _arguments(parser: argparse.ArgumentParser, before: str) -> list[str]:
    lines = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            told = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, inner in action.choices.items():
                lines += [f"- `{name}`: {told.get(name, '')}", *_arguments(inner, f"{before}  ")]
        elif action.dest not in COMMON:
            lines.append(f"{before}- `{_written(action)}`{_meaning(parser, action)}")
    return lines


def _written(action: argparse.Action) -> str:
    name = action.metavar or (action.dest.upper() if action.option_strings else action.dest)
    shown = " ".join(name) if isinstance(name, tuple) else str(name)
    if action.choices and not action.metavar:
        shown = "|".join(map(str, action.choices))
    if not action.option_strings:
        return f"[{shown}]" if action.nargs in ("?", "*") else shown
    return action.option_strings[-1] if action.nargs == 0 else f"{action.option_strings[-1]} {shown}"


def _meaning(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    text = parser._get_formatter()._expand_help(action) if action.help else ""
    needed = " (required)" if action.required and action.option_strings else ""
    return f": {text}{needed}" if text or needed else ""
