"""What the cluster can ask of an instance: a module an operation, which is found because it is here.

A module has a command, whose `tag` is the operation's name on the wire, and `carry_out(node, command)`, which does it
and returns the answer: how many clients or subscriptions it hit, or what an inspection has found. The command is the
type that `carry_out` declares for it.
"""

from collections.abc import Awaitable, Callable
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, NamedTuple, get_type_hints

import msgspec

from flotilla.realtime.node.control import Command
from flotilla.realtime.node.interface import NodeParts


class Operation(NamedTuple):
    """How a command is read, which raises as msgspec does, and what is done about it."""

    read: Callable[[bytes], Command]
    carry_out: Callable[[NodeParts, Any], Awaitable[Any]]


def all_operations() -> dict[str, Operation]:
    """Every operation by its name on the wire."""
    modules = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
    return dict(_operation(module.carry_out) for module in modules)


def _operation(carry_out: Callable[[NodeParts, Any], Awaitable[Any]]) -> tuple[str, Operation]:
    kind = get_type_hints(carry_out)["command"]
    return str(kind.__struct_config__.tag), Operation(msgspec.json.Decoder(kind).decode, carry_out)
