"""What is wrong with a setting, and what to do about it: the one shape in which every reader of settings says so.

Readers collect problems instead of raising at the first, so that the system checks can name them all at once. No
problem repeats a value that may be a secret. Imports nothing of ours: every layer may use it.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault: a variable's name or a key's dotted `path`, what is wrong, what to do about it, and the source that
    it is written in, where there are several."""

    path: str
    message: str
    hint: str = ""
    where: str = ""

    @property
    def fault(self) -> str:
        """What is wrong and where, without the hint, as a sentence."""
        return f"{self.path}: {self.message}{f' (in {self.where})' if self.where else ''}."

    def __str__(self) -> str:
        return f"{self.fault} {self.hint}".rstrip()


def unknown_key(key: str, path: str, where: str, known: Sequence[str]) -> Problem:
    """A key that nobody reads, with the one that was probably meant."""
    close = difflib.get_close_matches(key.lower(), known, n=1, cutoff=0.5)
    hint = f"Did you mean {close[0]!r}?" if close else f"Known keys: {', '.join(known)}."
    return Problem(path, "unknown key", hint, where)
