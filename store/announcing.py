"""By which command a message is announced from Python; scripts do the same in `lua/_announce.lua`.

In a cluster topics have a hash tag, and from Redis 7.0 on a message is sent to the topic's own shard alone (SPUBLISH).
Where Redis does not know that command, it is told to everybody (PUBLISH), as on a server that is no cluster.
"""

from flotilla.store.errors import StoreRefused, is_unknown_command


def is_sharded(topic: str) -> bool:
    """Whether a topic names a slot of a cluster."""
    return "{" in topic


class Announcing:
    """What is known of one Redis: whether it has SPUBLISH. Asked again of each run, for servers are upgraded."""

    def __init__(self) -> None:
        self._without: str | None = None  # the run of Redis that does not know SPUBLISH

    def command(self, topic: str, run: str) -> str:
        """The command for a topic, in a run of Redis ("" where none is known)."""
        return "SPUBLISH" if is_sharded(topic) and run != self._without else "PUBLISH"

    def refused(self, command: str, error: StoreRefused, run: str) -> bool:
        """Redis refused it: True where another command will do, which `command` gives from now on."""
        if command != "SPUBLISH" or error.code != "ERR" or not is_unknown_command(error.text):
            return False
        self._without = run
        return True
