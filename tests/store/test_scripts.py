"""Lua scripts as files of an app."""

from hashlib import sha1

from flotilla.store import Script


def test_a_script_is_known_by_its_digest() -> None:
    """`sha` is what Redis computes, and the registry finds the script by it."""
    script = Script("test.one", "return 1")
    assert script.sha == sha1(b"return 1").hexdigest()
    assert Script.registered[script.sha] is script


def test_a_packages_common_part_comes_first() -> None:
    """Scripts of one folder share `_common.lua`."""
    publish, history = (
        Script.load("flotilla.realtime.engine", "publish"),
        Script.load("flotilla.realtime.engine", "history"),
    )
    head = publish.text[: publish.text.index("-- Appends")]
    assert "local function stream_of" in head
    assert history.text.startswith(head)
    assert publish.name == "flotilla.realtime.engine.publish"
    assert "publish" in repr(publish)
