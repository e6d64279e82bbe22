"""Memory that was freed goes back to the system: what glibc keeps after a large request would look like a leak.

glibc gives each thread an arena of its own, and keeps what is freed inside of them. A process that handles requests in
many threads holds the most that each of them ever needed. So there are few arenas, and what lies free in them is given
back once it is much. Anywhere but on glibc nothing is done.
"""

import ctypes
from collections.abc import Callable

M_ARENA_MAX = -8  # <malloc.h>
ARENAS = 2
MUCH = 8 * 2**20  # bytes free and kept: giving them back takes about a millisecond for every 20 MB


class _Mallinfo2(ctypes.Structure):
    """`struct mallinfo2` of <malloc.h>."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks")
    ] + [("keepcost", ctypes.c_size_t)]


def _glibc() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None)
    if not all(hasattr(library, name) for name in ("mallopt", "malloc_trim", "mallinfo2")):
        return None
    library.mallinfo2.restype = _Mallinfo2
    return library


_library = _glibc()


def use_few_arenas() -> None:
    """To be called before there are threads."""
    if _library is not None:
        _library.mallopt(M_ARENA_MAX, ARENAS)


def free_bytes() -> int:
    """Bytes that were freed and are kept, in all arenas; 0 where nobody says."""
    return int(_library.mallinfo2().fordblks) if _library is not None else 0


class Trimmer:
    """Gives memory back when much of it lies free. To be called now and then, of one thread."""

    def __init__(self, free: Callable[[], int] = free_bytes) -> None:
        self._free = free
        self._kept = 0

    def look(self) -> bool:
        """Give back what is free, if much was freed since the last time.

        What was given back still counts as free, until it is used again: so what counts is how far the free bytes have
        risen above the least there were since then.
        """
        free = self._free()
        self._kept = min(self._kept, free)
        if _library is None or free - self._kept < MUCH:
            return False
        _library.malloc_trim(0)
        self._kept = self._free()
        return True
