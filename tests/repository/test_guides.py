"""The guides for newcomers name settings and functions that are there, and their examples are Python."""

import ast
import re
import textwrap

import pytest
from msgspec.structs import fields

import flotilla._public
from docs.site.pages import ROOT
from flotilla.conf import parts
from flotilla.realtime.conf import ChannelOptions

GUIDES = ("QUICKSTART.md", "ADD_TO_YOUR_PROJECT.md", "FROM_CHANNELS.md", "FROM_CENTRIFUGO.md")
KEYS = {key for part in parts() for key in part.keys}
OPTIONS = {field.name for field in fields(ChannelOptions)}
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
OF_CHANNELS = {"group_send", "async_to_sync", "connect"}


def text_of(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def codes(text: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", FENCED.sub("", text))


def test_what_replaces_an_option_of_centrifugo_is_a_setting() -> None:
    (table,) = re.findall(r"\| Centrifugo 6 \| Flotilla \|\n\|---\|---\|\n((?:\|.*\n)+)", text_of("FROM_CENTRIFUGO.md"))
    replacing = [code for row in table.splitlines() for code in codes(row.split(" | ", 1)[1])]
    named = [code for code in replacing if re.fullmatch(r"[a-z_]{3,}", code)]
    assert len(named) > 30
    assert [name for name in named if name not in KEYS | OPTIONS] == []


def test_options_of_a_namespace_that_are_said_to_be_there_are_there() -> None:
    (said,) = re.findall(r"have the same names: (.*?)\. `channel_regex`", text_of("FROM_CENTRIFUGO.md"), re.DOTALL)
    named = {code for code in codes(said) if code not in ("client", "subscriber", "anonymous")}
    families = {name.removesuffix("…") for name in named if name.endswith("…")}
    named = {name for name in named if not name.endswith("…")}
    named |= {option for option in OPTIONS if option.startswith(tuple(families))}
    assert named <= OPTIONS
    ours_alone = {option for option in OPTIONS if option.endswith("_permission")} | {"conflate", "durable"}
    assert OPTIONS - named - ours_alone == set()


@pytest.mark.parametrize("guide", GUIDES)
def test_functions_that_guides_name_are_there(guide: str) -> None:
    called = {name for code in codes(text_of(guide)) for name in re.findall(r"^(a?[a-z_]+)\(", code)}
    assert {name for name in called - OF_CHANNELS if name not in flotilla._public.__all__} == set()


@pytest.mark.parametrize("guide", GUIDES)
def test_examples_are_python(guide: str) -> None:
    for code in BLOCK.findall(text_of(guide)):
        ast.parse(textwrap.dedent(code))


def test_the_lines_to_add_are_those_that_the_foreign_project_runs_with() -> None:
    difference = (ROOT / "tests" / "host" / "flotilla.diff").read_text()
    added = [line.strip() for line in re.findall(r"^\+(?!\+\+ )(.*\S.*)$", difference, re.MULTILINE)]
    guide = text_of("ADD_TO_YOUR_PROJECT.md")
    shown = {
        line.strip()
        for block in re.findall(r"^```\w*\n(.*?)^```$", guide, re.DOTALL | re.MULTILINE)
        for line in block.splitlines()
    }
    assert [line for line in added if line not in shown] == []
    counted = [int(number) for number in re.findall(r"^\| \[.*\| (\d+) \|$", guide, re.MULTILINE)]
    assert sum(counted) == len(added)
    assert f"| together | | {len(added)} |" in guide
