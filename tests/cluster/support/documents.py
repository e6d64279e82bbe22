"""The code in our documents, so that tests can run what readers copy."""

import re

from tests.cluster.support.processes import ROOT

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def snippets(name: str, language: str) -> list[str]:
    """All blocks of a language in a document of `docs/`, in order."""
    text = (ROOT / "docs" / name).read_text()
    return [code for found, code in _BLOCK.findall(text) if found == language]


def snippet(name: str, language: str, holding: str) -> str:
    """The one block that holds a text."""
    (found,) = (code for code in snippets(name, language) if holding in code)
    return found
