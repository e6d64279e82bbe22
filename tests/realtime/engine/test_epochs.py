"""Which positions count under which epoch."""

import pytest

from flotilla.realtime.engine.epochs import continues
from flotilla.realtime.engine.publication import StreamPosition

NOW = "gen.190a0000064"


@pytest.mark.parametrize(
    ("epoch", "offset", "expected"),
    [
        (NOW, 0, True),
        (NOW, 5, True),
        ("gen.190a0000032", 0, True),  # asked 50 ms before, when there was no stream
        ("gen.190a0000032", 1, False),  # that was a stream, and it is gone
        ("gen.190a00000c8", 0, False),  # asked later: it has another answer
        ("other.190a0000032", 0, False),
        ("", 0, False),
        ("_", 0, False),
        ("gen.zz", 0, False),
        ("gen." + "f" * 100, 0, False),
        ("gen.-1", 0, False),
        ("gen.1_0", 0, False),
        (".190a0000032", 0, False),
        ("gen.\N{ARABIC-INDIC DIGIT ONE}", 0, False),
        ("gen.190a0000032\n", 0, False),
    ],
)
def test_a_position_without_a_stream_holds_for_the_one_that_is_made_next(
    epoch: str, offset: int, expected: bool
) -> None:
    """Within the time for which a stream lives at least; what no script has made continues nothing."""
    assert continues(StreamPosition(epoch, offset), NOW, 60) is expected


def test_it_does_not_hold_longer_than_a_stream_lives() -> None:
    """Meanwhile one may have come and gone."""
    asked = 0x190A0000000
    for after, expected in ((0, True), (59_999, True), (60_000, False), (-1, False)):
        assert continues(StreamPosition(f"g.{asked:x}", 0), f"g.{asked + after:x}", 60) is expected
