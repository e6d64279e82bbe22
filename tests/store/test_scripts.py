"""Lua scripts as files of an app."""

from hashlib import sha1

from flotilla.store import Script
from flotilla.store.scripts import COMMON


def test_a_script_is_known_by_its_digest() -> None:
    """`sha` is what Redis computes, and the registry finds the script by it."""
    script = Script("test.one", "return 1")
    assert script.sha == sha1(b"return 1").hexdigest()
    assert Script.registered[script.sha] is script


def test_a_packages_common_part_comes_first() -> None:
    """Scripts of one folder share `_common.lua`."""
    history, confirm = (Script.load("flotilla.realtime.engine", name) for name in ("history", "confirm"))
    head = history.text[: history.text.index("-- Reads")]
    assert "local function stream_of" in head
    assert confirm.text.startswith(head)
    assert confirm.name == "flotilla.realtime.engine.confirm"
    assert "confirm" in repr(confirm)


def test_a_script_may_say_where_the_common_part_goes() -> None:
    """A branch that is seldom taken: what is made there costs nothing in all other runs."""
    text = Script.load("flotilla.realtime.engine", "publish").text
    assert text.startswith("-- Appends")
    assert "local function era_for" in text
    assert COMMON not in text
