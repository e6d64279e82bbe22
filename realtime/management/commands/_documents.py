"""JSON that commands print: ASCII, so that neither the terminal's encoding nor a control character matters."""

import json
import re
from typing import Any

import msgspec

from flotilla.realtime.protocol import foreign

_OTHER = re.compile(r"[^\x20-\x7e\n]")


def document(value: Any) -> str:
    """A value, which may hold msgspec.Raw, on several lines."""
    return line(value, indent=2)


def line(value: Any, indent: int = 0) -> str:
    """A value on one line, or with so many spaces for each level."""
    text = foreign.write(value)
    if indent:
        try:
            text = msgspec.json.format(text, indent=indent)
        except (msgspec.DecodeError, RecursionError):
            pass  # a payload that msgspec does not take: valid JSON all the same, on one line
    return _OTHER.sub(lambda found: json.dumps(found[0])[1:-1], text.decode())  # outside of strings all is ASCII
