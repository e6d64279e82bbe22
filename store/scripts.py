"""Lua scripts: loaded from an app's `lua/` folder, addressed by digest.

Every script registers itself, so that a new connection can hand all of them to Redis before anything else is sent:
calls that are pipelined behind one another then never overtake one that had to be repeated in full.
"""

import re
from hashlib import sha1
from importlib.resources import files
from typing import ClassVar

COMMON = "--[[ _common.lua ]]"
_SHARED = re.compile(r"--\[\[ (_(?:announce|bin|streams|maps)\.lua) \]\]\n?")


class Script:
    """One Lua script. `text` runs on Redis; `sha` is what EVALSHA wants. `needs_partition`: it may answer DOUBT, and
    its calls keep their order then."""

    __slots__ = ("name", "needs_partition", "sha", "text")

    registered: ClassVar[dict[str, "Script"]] = {}

    def __init__(self, name: str, text: str, *, needs_partition: bool = False) -> None:
        self.name = name
        self.needs_partition = needs_partition
        self.text = text
        self.sha = sha1(text.encode(), usedforsecurity=False).hexdigest()
        Script.registered[self.sha] = self

    @classmethod
    def load(cls, package: str, name: str, *, needs_partition: bool = False) -> "Script":
        """The script `lua/<name>.lua` of `package`, behind the package's `lua/_common.lua` if there is one.

        A script that mostly needs nothing of what is shared says itself where that goes (`COMMON`, in its rare
        branches): Redis makes the functions anew at each run. What several packages share is in `lua/` here, and goes
        where a script or its package's `_common.lua` names it.
        """
        folder = files(package) / "lua"
        common = folder / "_common.lua"
        shared = common.read_text() if common.is_file() else ""
        text = (folder / f"{name}.lua").read_text()
        text = text.replace(COMMON, shared) if COMMON in text else shared + text
        return cls(f"{package}.{name}", _whole(text), needs_partition=needs_partition)

    def __repr__(self) -> str:
        return f"<Script {self.name}>"


def _whole(text: str) -> str:
    """A script with what it names of this package's `lua/` in its place."""
    folder = files("flotilla.store") / "lua"
    return _SHARED.sub(lambda found: _whole((folder / found[1]).read_text()), text)
