"""What the supervisor and its children say on the terminal: each line under the name of who said it."""

import contextlib
import json
import sys
import threading
from typing import Any

_COLOURS = (36, 33, 35, 32, 34)
_lock = threading.Lock()
_in_json = False


def speak_json() -> None:
    """From now on each line is a JSON document: `from`, and `said` or, for a log line that is JSON, `log`."""
    global _in_json
    _in_json = True


def say(name: str, line: str) -> None:
    """Print a line of a process; "" is the supervisor itself. A terminal that is gone is no failure.

    Log lines in JSON carry the instance themselves and are left as they are, for machines.
    """
    if _in_json:
        text = json.dumps({"from": name or None, **_said(line)})
    else:
        text = line if name and line.startswith("{") else f"{_label(name)} {line}"
    with _lock, contextlib.suppress(OSError, ValueError):
        print(text, flush=True)


def _said(line: str) -> dict[str, Any]:
    try:
        log = json.loads(line) if line.startswith("{") else None
    except ValueError:
        log = None
    return {"said": None, "log": log} if isinstance(log, dict) else {"said": line, "log": None}


def _label(name: str) -> str:
    label = f"[{name or 'flotilla'}]"
    if not sys.stdout.isatty():
        return label
    number = name.rpartition("-")[2]
    colour = _COLOURS[int(number) % len(_COLOURS)] if number.isascii() and number.isdigit() else 1
    return f"\033[{colour}m{label}\033[0m"
