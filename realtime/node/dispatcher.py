"""The commands of the cluster that reach this instance: read, carried out by their operations, and answered.

What cannot be read, and an operation that this release does not know, is logged and passed over: another release may
run beside this one during a rolling restart.
"""

import logging

import msgspec

from flotilla.realtime.node.control import Command
from flotilla.realtime.node.interface import NodeParts
from flotilla.realtime.node.operations import Operation, all_operations

logger = logging.getLogger("flotilla.realtime.operations")

UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)


class _Head(msgspec.Struct):
    """What must be known of a command before the rest is read."""

    op: str
    instance: str = ""


_read_head = msgspec.json.Decoder(_Head).decode


class Dispatcher:
    """Carries out the commands that reach a node."""

    def __init__(self, node: NodeParts) -> None:
        self._node = node
        self._operations = all_operations()

    def receive(self, payload: bytes) -> None:
        """A control message has come. Never raises."""
        try:
            self._begin(payload)
        except UNREADABLE as error:
            logger.warning("a control message could not be read: %s", error)

    def _begin(self, payload: bytes) -> None:
        head = _read_head(payload)
        if head.instance and head.instance != self._node.presence.incarnation:
            return
        operation = self._operations.get(head.op)
        if operation is None:
            logger.warning("unknown control command %r", head.op)
            return
        self._node.background(self._carry_out(operation, operation.read(payload)), name=head.op)

    async def _carry_out(self, operation: Operation, command: Command) -> None:
        answer = await operation.carry_out(self._node, command)
        if command.answer_to:
            await self._node.control.answer(command, self._node.presence.incarnation, answer)
