"""How many clients a second this process can let in beside its work, by what those that came have cost it. Pure.

Of each stretch of about a second it is told the time, the CPU time of the process and how many clients have been let in
by then. A stretch in which hardly anybody came shows what the other work takes of a core; what others took above that
is what their clients cost, with all that they did then: connecting, subscribing, recovering. A tenth of what is left of
a core is for clients that are sent here from elsewhere: those that are here must not feel it.
"""

PART = 0.1  # of what is left of a core
FEW = 5  # clients a second, of whose cost nothing can be said
LEAST, MOST = 20, 5000  # clients a second that are ever said
UNKNOWN = 200  # until enough have come
WEIGHT = 0.2  # of the newest stretch in what is remembered


class Capacity:
    """What is known so far."""

    def __init__(self) -> None:
        self._at: tuple[float, float, int] | None = None  # the last look: time, CPU time, clients
        self._beside = 0.0  # of a core, that other work takes
        self._cost: float | None = None  # seconds of CPU for each client

    def look(self, now: float, cpu: float, admitted: int) -> None:
        """Another stretch is over: monotonic time and CPU time in seconds, and clients let in so far."""
        before, self._at = self._at, (now, cpu, admitted)
        if before is None or now <= before[0]:
            return
        seconds, load, came = now - before[0], (cpu - before[1]) / (now - before[0]), admitted - before[2]
        if came < FEW * seconds:
            self._beside += WEIGHT * (min(load, 1.0) - self._beside)
            return
        cost = max(0.0, load - self._beside) * seconds / came
        self._cost = cost if self._cost is None else self._cost + WEIGHT * (cost - self._cost)

    def rate(self, most: int) -> int:
        """Clients a second; at most `most`, if that is not 0, and just that until something was measured."""
        if self._cost is None:
            return most or UNKNOWN
        left = PART * max(0.0, 1.0 - self._beside)
        measured = MOST if self._cost * MOST <= left else max(LEAST, int(left / self._cost))
        return min(measured, most or MOST)
