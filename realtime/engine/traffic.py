"""What goes through the channels of each namespace in this process: counted where it happens, read by `monitoring`.

A namespace is one of the configuration's, so there are few; beyond MAX_NAMESPACES the rest are counted together. One
thread writes (the event loop's), any may read.
"""

from flotilla.realtime.access.channels import namespace_of

MAX_NAMESPACES = 64
NONE = "(none)"  # channels without a namespace; no namespace can be called so
OTHER = "(other)"


class Traffic:
    """Of one namespace: publications that clients here made, those written to connections here (once for each), bytes
    of publications, joins and leaves that were written, and subscriptions that are here now."""

    __slots__ = ("delivered", "published", "sent_bytes", "subscriptions")

    def __init__(self) -> None:
        self.published = 0
        self.delivered = 0
        self.sent_bytes = 0
        self.subscriptions = 0


class TrafficByNamespace:
    """The traffic of a process, by the namespaces of its channels."""

    def __init__(self) -> None:
        self._known: dict[str | None, Traffic] = {}

    def of(self, channel: str) -> Traffic:
        """Where what happens in a channel is counted."""
        name = namespace_of(channel)
        traffic = self._known.get(name)
        return traffic if traffic is not None else self._add(name)

    def _add(self, name: str | None) -> Traffic:
        if len(self._known) >= MAX_NAMESPACES:
            name = OTHER
        return self._known.setdefault(name, Traffic())

    def all(self) -> dict[str, Traffic]:
        """By the namespace's name. Any thread may ask."""
        return {NONE if name is None else name: traffic for name, traffic in dict(self._known).items()}
