"""The same bytes to many sockets."""

import os
from collections.abc import Iterable
from typing import Protocol, TypeVar


class Descriptor(Protocol):
    """What can be sent to directly."""

    @property
    def descriptor(self) -> int:
        """The descriptor of a non-blocking socket before which nothing waits; -1 where bytes must go another way."""


Kind = TypeVar("Kind", bound=Descriptor)


def send_to_all(outlets: Iterable[Kind], wire: bytes) -> list[tuple[Kind, int]]:
    """Send the same bytes to each socket, as much of them as its kernel buffer takes at once. Gives those that did not
    take everything, in order, each with the number of bytes it took: 0 for one that has no descriptor or is lost.

    Nobody else is called meanwhile, so nothing changes in between.
    """
    left: list[tuple[Kind, int]] = []
    size, write = len(wire), os.write
    for outlet in outlets:
        descriptor = outlet.descriptor
        written = 0
        if descriptor >= 0:
            try:
                written = write(descriptor, wire)
            except OSError:  # it takes nothing now, or is lost, which whoever reads from it notices and says
                written = 0
        if written != size or descriptor < 0:
            left.append((outlet, written))
    return left
