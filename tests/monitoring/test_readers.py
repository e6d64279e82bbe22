"""Who is waited for at the end: those who read regularly, and once each."""

from flotilla.monitoring.readers import LATE, MAX_PERIOD, MAX_READERS, SLACK, Readers


def test_who_reads_regularly_is_waited_for_until_it_has_read() -> None:
    readers = Readers()
    for moment in (0.0, 5.0, 10.0):
        readers.note("prometheus", moment)
    assert readers.expected(since=11.0, now=11.0)
    assert readers.expected(since=11.0, now=15.0)
    readers.note("prometheus", 15.1)
    assert not readers.expected(since=11.0, now=15.1)


def test_each_of_several_is() -> None:
    readers = Readers()
    for moment in (0.0, 5.0):
        readers.note("one", moment)
        readers.note("other", moment + 1)
    readers.note("one", 10.0)
    assert readers.expected(since=9.0, now=10.0), "the other is still to come"
    readers.note("other", 11.0)
    assert not readers.expected(since=9.0, now=11.0)


def test_who_is_late_is_given_up() -> None:
    readers = Readers()
    readers.note("gone", 0.0)
    readers.note("gone", 4.0)
    assert readers.expected(since=5.0, now=4.0 + LATE * 4.0)
    assert not readers.expected(since=5.0, now=4.0 + LATE * 4.0 + SLACK)


def test_who_reads_once_or_seldom_is_nobody_s_delay() -> None:
    readers = Readers()
    readers.note("once", 0.0)
    readers.note("seldom", 0.0)
    readers.note("seldom", MAX_PERIOD + 1)
    assert not readers.expected(since=MAX_PERIOD + 1.5, now=MAX_PERIOD + 1.5)


def test_addresses_are_bounded() -> None:
    """The ones heard of last are kept."""
    readers = Readers()
    for number in range(3 * MAX_READERS):
        readers.note(str(number), float(number))
    assert len(readers._last) == MAX_READERS
    assert str(3 * MAX_READERS - 1) in readers._last
