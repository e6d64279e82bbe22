"""docs/COMMANDS.md says of every command what its parser says, and its examples are commands."""

import re
import shlex

from django.core.management import load_command_class

from docs.site.pages import ROOT
from docs.site.reference import BEGIN
from flotilla.realtime.command_names import our_commands

DOCUMENT = ROOT / "docs" / "COMMANDS.md"
EXAMPLE = re.compile(r"^(?:\$ )?python manage\.py (\w+)(.*)$", re.MULTILINE)


def test_every_command_has_a_section_that_says_what_it_does() -> None:
    sections = re.findall(r"^### (\w+)\n\n(.+)$", DOCUMENT.read_text(), re.MULTILINE)
    said = {name: load_command_class(app, name).help for name, app in our_commands().items() if name != "flotilla"}
    assert dict(sections) == said


def test_every_example_can_be_parsed() -> None:
    """Also those that are about the installation of a reader."""
    found = EXAMPLE.findall(DOCUMENT.read_text().partition(BEGIN)[0])
    assert len(found) > 10
    for name, rest in found:
        words = re.sub(r"\s+#.*", "", rest)
        if name != "flotilla":
            load_command_class(our_commands()[name], name).create_parser("manage.py", name).parse_args(
                shlex.split(words)
            )
