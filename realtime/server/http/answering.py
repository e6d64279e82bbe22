"""HTTP connections whose responses are on their way: how many bytes clients have not taken yet, for the metric."""

from typing import Protocol


class Answering(Protocol):
    """A connection with a response under way."""

    @property
    def unsent(self) -> int:
        """Bytes that were accepted but not yet taken by the kernel."""


answering: set[Answering] = set()


def responses_waiting() -> int:
    """Bytes of responses that clients have not taken yet. Any thread may ask."""
    return sum(connection.unsent for connection in list(answering))
