"""The documents that are made from the code: which they are, whether they are current, and how they are written anew.

Everything between the two marks of such a document is made; the rest is written by hand and stays.
"""

import os
from collections.abc import Callable
from pathlib import Path

from docs.site.pages import ROOT

BEGIN = "<!-- made from the code by `make reference`: begin -->\n"
END = "<!-- made from the code: end -->\n"


def _settings() -> str:
    from docs.site.settings_reference import reference

    return reference()


def _functions() -> str:
    from docs.site.functions_reference import reference

    return reference()


def _commands() -> str:
    from docs.site.commands_reference import reference

    return reference()


def _metrics() -> str:
    from docs.site.metrics_reference import reference

    return reference()


DOCUMENTS: dict[str, Callable[[], str]] = {
    "docs/SETTINGS.md": _settings,
    "docs/FUNCTIONS.md": _functions,
    "docs/COMMANDS.md": _commands,
    "docs/METRICS.md": _metrics,
}


def renewed(document: str, root: Path = ROOT) -> str:
    """The text of a document with what the code says today. Raises ValueError where the marks are missing."""
    _set_up()
    text = (root / document).read_text()
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{document} lacks the marks between which it is made from the code")
    return f"{head}{BEGIN}\n{DOCUMENTS[document]()}\n{END}{tail}"


def stale(root: Path = ROOT) -> list[str]:
    """The documents that do not say what the code says today."""
    return [document for document in DOCUMENTS if renewed(document, root) != (root / document).read_text()]


def write(root: Path = ROOT) -> None:
    """Write the documents anew."""
    for document in DOCUMENTS:
        (root / document).write_text(renewed(document, root))


def _set_up() -> None:
    import django
    from django.apps import apps

    if not apps.ready:
        os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"  # whatever the machine's variables say
        django.setup()
