"""Commands as Redis reads them, and publications as it announces them."""

from typing import Any

import hiredis
import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.both_implementations import NATIVE, implementations

pytestmark = pytest.mark.parametrize("speedups", implementations())
many = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
ARGUMENTS = st.lists(st.binary() | st.text() | st.integers() | st.floats(), min_size=1, max_size=50)


def read(packed: bytes) -> Any:
    """A command as a parser of RESP reads it; nothing may be left."""
    reader = hiredis.Reader()
    reader.feed(packed)
    found = reader.gets()
    assert reader.gets() is False
    return found


@many
@given(arguments=ARGUMENTS)
def test_a_command_arrives_as_it_was_meant(speedups: Any, arguments: list[bytes | str | int | float]) -> None:
    meant = [one if isinstance(one, bytes) else str(one).encode() for one in arguments]
    assert read(speedups.pack(tuple(arguments))) == meant


@pytest.mark.parametrize("size", [0, 1, 9, 10, 99, 100, 999, 1000, 100_000])
def test_arguments_of_any_length_and_number_are_packed(speedups: Any, size: int) -> None:
    assert read(speedups.pack(("SET", b"x" * size))) == [b"SET", b"x" * size]
    assert len(read(speedups.pack(("DEL", *range(size))))) == 1 + size


@pytest.mark.parametrize("number", [0, 9, 10, -1, 2**31, 2**63 - 1, -(2**63), 2**63, 2**64, 2**200, 0.5, -1e300])
def test_numbers_are_decimal(speedups: Any, number: float) -> None:
    assert read(speedups.pack(("GET", number))) == [b"GET", repr(number).encode()]


@pytest.mark.parametrize("argument", [None, True, [b"a"], object(), {"a": 1}])
def test_what_is_no_argument_is_refused(speedups: Any, argument: Any) -> None:
    with pytest.raises(TypeError):
        speedups.pack(("GET", 5.5, argument, "a"))


def test_text_that_has_no_bytes_is_refused(speedups: Any) -> None:
    with pytest.raises(UnicodeEncodeError):
        speedups.pack(("GET", 10**30, "a\ud800"))


def announced(*values: Any, kind: str = "pub") -> bytes:
    """A message of the layer as msgpack writes it."""
    return msgpack.packb({"type": kind} | dict(zip("cdeotn", values, strict=True)))  # type: ignore[no-any-return]


@many
@given(
    channel=st.text(max_size=300),
    body=st.binary(max_size=300),
    epoch=st.text(max_size=40),
    numbers=st.tuples(*(st.integers(0, 2**64 - 1) | st.integers(0, 300) for _ in range(3))),
)
def test_a_publication_is_read_whole(
    speedups: Any, channel: str, body: bytes, epoch: str, numbers: tuple[int, int, int]
) -> None:
    meant = (channel, body, epoch, *numbers)
    found = speedups.read_publication(announced(*meant))
    assert found == meant if speedups is NATIVE else found in (meant, None)


@pytest.mark.parametrize("size", [0, 31, 32, 255, 256, 65535, 65536])
def test_a_publication_of_any_size_is_read(speedups: Any, size: int) -> None:
    meant = ("c" * size, b"d" * size, "e" * size, 1, 2, 3)
    assert speedups.read_publication(announced(*meant)) in (meant, None if speedups is not NATIVE else meant)


PROPER = announced("news", b"{}", "abc.1", 5, 6, 7)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        PROPER + b"\x00",
        announced("news", b"{}", "abc.1", 5, 6, 7, kind="live"),
        announced("news", "{}", "abc.1", 5, 6, 7),
        announced("news", b"{}", b"abc.1", 5, 6, 7),
        announced("news", b"{}", "abc.1", -5, 6, 7),
        announced("news", b"{}", "abc.1", 5, 6.5, 7),
        announced("news", b"{}", "abc.1", 5, 6, None),
        msgpack.packb({"type": "pub", "d": b"", "c": "news"}),
        PROPER.replace(b"news", b"ne\xffs"),
        PROPER.replace(b"abc.1", b"\xed\xa0\x80.1"),
        *(PROPER[:end] for end in range(len(PROPER))),
    ],
)
def test_everything_else_is_left_to_the_envelope(speedups: Any, message: bytes) -> None:
    assert speedups.read_publication(message) is None
