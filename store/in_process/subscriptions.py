"""Who hears what is published: topics and patterns, and those who subscribed to them."""

import re
from typing import Protocol

from flotilla.store.in_process.arguments import pattern
from flotilla.store.in_process.replies import Push


class Listener(Protocol):
    """A connection, as this module needs it."""

    topics: dict[bytes, None]
    patterns: dict[bytes, None]

    def push(self, message: Push) -> None:
        """Send something that was not asked for."""


class Subscriptions:
    """Topics and patterns with their listeners, in the order in which they came."""

    def __init__(self) -> None:
        self._topics: dict[bytes, dict[Listener, None]] = {}
        self._patterns: dict[bytes, tuple[re.Pattern[bytes], dict[Listener, None]]] = {}

    def subscribe(self, listener: Listener, topic: bytes) -> None:
        """From now on, what is published to this topic."""
        listener.topics[topic] = None
        self._topics.setdefault(topic, {})[listener] = None

    def unsubscribe(self, listener: Listener, topic: bytes) -> None:
        """No more of this topic."""
        listener.topics.pop(topic, None)
        heard_by = self._topics.get(topic, {})
        heard_by.pop(listener, None)
        if not heard_by:
            self._topics.pop(topic, None)

    def subscribe_pattern(self, listener: Listener, glob: bytes) -> None:
        """From now on, what is published to topics that match."""
        listener.patterns[glob] = None
        self._patterns.setdefault(glob, (pattern(glob), {}))[1][listener] = None

    def unsubscribe_pattern(self, listener: Listener, glob: bytes) -> None:
        """No more of this pattern."""
        listener.patterns.pop(glob, None)
        if glob in self._patterns:
            self._patterns[glob][1].pop(listener, None)
            if not self._patterns[glob][1]:
                del self._patterns[glob]

    def leave(self, listener: Listener) -> None:
        """A connection ended."""
        for topic in list(listener.topics):
            self.unsubscribe(listener, topic)
        for glob in list(listener.patterns):
            self.unsubscribe_pattern(listener, glob)

    def publish(self, topic: bytes, message: bytes) -> int:
        """Tell everybody who hears it; how many those are, each subscription counted."""
        heard_by = list(self._topics.get(topic, ()))
        for listener in heard_by:
            listener.push(Push((b"message", topic, message)))
        count = len(heard_by)
        for glob, (matches, listeners) in list(self._patterns.items()):
            if matches.fullmatch(topic):
                for listener in list(listeners):
                    listener.push(Push((b"pmessage", glob, topic, message)))
                    count += 1
        return count

    def topics(self) -> list[bytes]:
        """Those that somebody subscribed to by name."""
        return list(self._topics)

    def count(self, topic: bytes) -> int:
        """How many subscribed to a topic by name."""
        return len(self._topics.get(topic, ()))

    @property
    def patterns(self) -> int:
        """How many different patterns there are."""
        return len(self._patterns)
