"""Which epochs name one stream."""

import pytest

from realtime.engine.epochs import continues

MADE, ASKED, LATER = "gen.190a0000064", "gen~190a0000032", "gen~190a00000c8"


@pytest.mark.parametrize(
    ("earlier", "later", "expected"),
    [
        (MADE, MADE, True),
        (ASKED, ASKED, True),
        (ASKED, MADE, True),  # asked 50 ms before the stream was made
        (ASKED, LATER, True),  # nothing was made in between, or it would stand
        (LATER, MADE, False),  # the stream stood when the question was asked: it has another answer
        (MADE, LATER, False),  # the stream is gone
        (MADE, "gen.190a0000065", False),  # another stream
        (ASKED, "other.190a0000064", False),
        ("", MADE, False),
        (ASKED, "", False),
        ("gen~zz", MADE, False),
        ("gen~" + "f" * 100, MADE, False),
        ("gen~-1", MADE, False),
        ("gen~1_0", MADE, False),
        ("~190a0000032", ".190a0000064", False),
        ("\N{ARABIC-INDIC DIGIT ONE}~1", MADE, False),
    ],
)
def test_a_provisional_position_holds_for_the_stream_that_is_made_next(
    earlier: str, later: str, expected: bool
) -> None:
    """Within the time for which a stream lives at least; what no script has made continues nothing."""
    assert continues(earlier, later, 60) is expected


def test_it_does_not_hold_longer_than_a_stream_lives() -> None:
    """Meanwhile one may have come and gone."""
    asked = 0x190A0000000
    for after, expected in ((0, True), (59_999, True), (60_000, False), (-1, False)):
        assert continues(f"g~{asked:x}", f"g.{asked + after:x}", 60) is expected
