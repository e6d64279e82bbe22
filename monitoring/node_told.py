"""Whose figures this process tells: those of its node, also when the process drains and the node has closed."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flotilla.realtime.node.node import Node

_leaving: "Node | None" = None


def node_told() -> "Node | None":
    """The node whose figures are told now; None in a process that has none."""
    from flotilla.realtime.node.node import current_node  # the apps are ready by now

    return current_node() or _leaving


def keep_node(**_: Any) -> None:
    """The process drains: what its node has counted is told until the process has ended."""
    global _leaving
    _leaving = node_told()
