"""What was freed goes back to the system."""

import subprocess
import sys

import pytest

from flotilla.realtime.server import heap
from flotilla.realtime.server.heap import MUCH, Trimmer, free_bytes

pytestmark = pytest.mark.skipif(heap._library is None, reason="only glibc keeps what is freed in this way")

# Small blocks, each second one of which stays: nothing of them can be given back at the end of the heap.
FRAGMENTS = """
import ctypes, psutil
from flotilla.realtime.server.heap import Trimmer, free_bytes
malloc, free = ctypes.CDLL(None).malloc, ctypes.CDLL(None).free
malloc.restype, free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
held = [malloc(60_000) for _ in range(1000)]
for block in held:
    ctypes.memset(block, 1, 60_000)
for block in held[:-1]:
    free(block)
resident = lambda: psutil.Process().memory_info().rss
before, free_before = resident(), free_bytes()
print(free_before > 50_000_000, Trimmer().look(), before - resident() > 50_000_000)
"""


def test_what_lies_free_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", FRAGMENTS], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["True"] * 3, done.stdout + done.stderr


def test_little_is_left_where_it_is() -> None:
    assert not Trimmer(lambda: MUCH - 1).look()


def test_what_cannot_be_given_back_is_not_tried_each_time() -> None:
    trimmer = Trimmer(lambda: 2 * MUCH)
    assert [trimmer.look() for _ in range(3)] == [True, False, False]


def test_what_was_used_again_and_freed_is_given_back_again() -> None:
    free = iter([2 * MUCH, 2 * MUCH, MUCH // 2, 2 * MUCH, 2 * MUCH])
    trimmer = Trimmer(lambda: next(free))
    assert [trimmer.look() for _ in range(3)] == [True, False, True]


def test_it_is_known_how_much_is_free() -> None:
    assert free_bytes() > 0
