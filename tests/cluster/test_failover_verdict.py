"""The verdict on failovers finds what is missing, and only what is missing in silence."""

from tests.cluster.campaigns.failover_verdict import (
    Kept,
    Span,
    longest_pause,
    lost,
    middle_and_most,
    stream_faults,
    subscriber_faults,
)

KEPT = Kept("new.1", {1: 30, 2: 31, 3: 32})


def test_what_is_in_its_place_is_kept_and_all_else_is_lost() -> None:
    answered = {30: ("new.1", 1), 31: ("new.1", 3), 20: ("old.1", 2)}
    assert lost(answered, KEPT) == [31, 20]


def test_a_loss_in_an_epoch_that_is_over_is_no_silent_one() -> None:
    assert stream_faults({20: ("old.1", 2), 30: ("new.1", 1)}, KEPT) == []


def test_a_loss_in_the_current_epoch_is_silent() -> None:
    (fault,) = stream_faults({33: ("new.1", 2)}, KEPT)
    assert "33 was answered" in fault


def test_what_is_there_twice_is_a_fault() -> None:
    (fault,) = stream_faults({}, Kept("new.1", {1: 30, 2: 30}))
    assert fault == "30 is there 2 times"


def test_a_subscriber_that_was_told_and_stands_at_the_top_misses_nothing() -> None:
    spans = [Span("old.1", 4, [(5, 18), (6, 19)]), Span("new.1", 0, [(1, 30), (2, 31), (3, 32)])]
    assert subscriber_faults(spans, KEPT) == []


def test_a_hole_in_what_a_subscriber_was_given_is_silent() -> None:
    (fault,) = subscriber_faults([Span("new.1", 0, [(1, 30), (3, 32)])], KEPT)
    assert fault == "3 came after 1 of new.1"


def test_a_subscriber_that_is_left_in_the_old_epoch_or_below_the_top_was_not_told() -> None:
    assert len(subscriber_faults([Span("old.1", 4, [(5, 18)])], KEPT)) == 1
    assert len(subscriber_faults([Span("new.1", 0, [(1, 30)])], KEPT)) == 1


def test_other_data_at_an_offset_of_the_current_epoch_is_a_fault() -> None:
    (fault,) = subscriber_faults([Span("new.1", 1, [(2, 99), (3, 32)])], KEPT)
    assert fault == "at 2 it was given 99, and history has 31"


def test_the_longest_pause_counts_from_the_fault_on() -> None:
    assert longest_pause([1.0, 9.0, 11.0, 14.5, 15.0], since=10.0) == (3.5, 14.5)
    assert longest_pause([12.0], since=10.0) == (2.0, 12.0)
    assert longest_pause([11.0, 13.0, 16.0, 20.0], since=10.0, begun_within=3.0) == (3.0, 16.0)


def test_figures_are_told_by_the_median_and_the_greatest() -> None:
    assert middle_and_most([3.0, 1.0, 2.0]) == "2.0 (3.0)"
    assert middle_and_most([]) == "-"
