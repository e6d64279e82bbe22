"""Whether what something costs grows with its input, and not faster: compared inside one run, in CPU time."""

import time
from collections.abc import Callable

TIMES = 4  # longer
TOLERATED = 10.0  # linear is 4, quadratic 16
FLOOR = 0.002  # seconds that nobody minds, whatever they are compared with


def is_linear(call: Callable[[int], object]) -> bool:
    """`call` takes how many times longer its input is than the shortest: 1 or `TIMES`."""
    return _cost(call, TIMES) <= TOLERATED * _cost(call, 1) + FLOOR


def _cost(call: Callable[[int], object], times: int) -> float:
    """The least of a few: whatever else the machine did meanwhile only adds."""
    found = []
    for _ in range(5):
        began = time.process_time()
        call(times)
        found.append(time.process_time() - began)
    return min(found)
