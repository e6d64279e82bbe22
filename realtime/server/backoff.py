"""How long to wait before a process that ended is started again: `store.Backoff`, reset by having run for a while."""

from dataclasses import dataclass

from flotilla.store import Backoff as Pauses


@dataclass(slots=True)
class Backoff(Pauses):
    """Pauses in seconds between starts."""

    first: float = 2.0
    longest: float = 30.0
    stayed_up: float = 20.0  # seconds of running after which it counts as well again

    def pause(self, ran_for: float) -> float:
        """The pause after it ended, having run for that many seconds."""
        if ran_for >= self.stayed_up:
            self.reset()
        return self.next()
