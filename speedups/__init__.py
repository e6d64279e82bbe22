"""What is bytes and loops on the hot paths: in C where `flotilla._speedups` could be compiled, else in Python.

Both do the same, and the same tests run on both. `pure` is the definition: the docstrings are there. `native` holds
the C, which only costs less; `build` compiles it. States and rules belong to those who call.

`FLOTILLA_PURE_PYTHON=1` leaves the C out. `IMPLEMENTATION` says which of the two runs here.
"""

import os
from importlib import import_module

from flotilla._names import refuse_other_name

refuse_other_name(__name__, "flotilla.speedups")  # before anything else is imported under that name

from flotilla.speedups.pure.fossil import fossil_delta  # noqa: E402
from flotilla.speedups.pure.frames import (  # noqa: E402
    first_binary,
    first_text,
    framed,
    publication_push,
    unmask,
)
from flotilla.speedups.pure.protobuf import protobuf_publish, protobuf_push  # noqa: E402
from flotilla.speedups.pure.resp import pack, read_publication  # noqa: E402
from flotilla.speedups.pure.sends import send_to_all  # noqa: E402

__all__ = [
    "IMPLEMENTATION",
    "PURE_PYTHON",
    "first_binary",
    "first_text",
    "fossil_delta",
    "framed",
    "pack",
    "protobuf_publish",
    "protobuf_push",
    "publication_push",
    "read_publication",
    "send_to_all",
    "unmask",
]

PURE_PYTHON = "FLOTILLA_PURE_PYTHON"  # in the environment
IMPLEMENTATION = "python"

if os.environ.get(PURE_PYTHON, "") in ("", "0"):
    try:
        _native = import_module("flotilla._speedups")
        globals().update({name: getattr(_native, name) for name in __all__ if name.islower()})
        IMPLEMENTATION = "native"
    except (ImportError, AttributeError):  # it was not compiled, or for another machine, or from other sources
        pass
