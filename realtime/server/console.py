"""What the supervisor and its children say on the terminal: each line under the name of who said it."""

import contextlib
import sys
import threading

_COLOURS = (36, 33, 35, 32, 34)
_lock = threading.Lock()


def say(name: str, line: str) -> None:
    """Print a line of a process; "" is the supervisor itself. A terminal that is gone is no failure.

    Log lines in JSON carry the instance themselves and are left as they are, for machines.
    """
    text = line if name and line.startswith("{") else f"{_label(name)} {line}"
    with _lock, contextlib.suppress(OSError, ValueError):
        print(text, flush=True)


def _label(name: str) -> str:
    label = f"[{name or 'flotilla'}]"
    if not sys.stdout.isatty():
        return label
    number = name.rpartition("-")[2]
    colour = _COLOURS[int(number) % len(_COLOURS)] if number.isascii() and number.isdigit() else 1
    return f"\033[{colour}m{label}\033[0m"
