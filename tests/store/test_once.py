"""What is told once is told again after a pause, and what is remembered of it has a bound."""

from flotilla.store.once import Once


def test_news_is_told_once_and_again_after_a_pause() -> None:
    """By kind; what never stops is told once."""
    now = [0.0]
    once = Once(quiet=60, clock=lambda: now[0])
    assert [once.news("a"), once.news("b"), once.news("a")] == [True, True, False]
    for _ in range(10):
        now[0] += 50
        assert not once.news("a")
    now[0] += 61
    assert once.news("a")


def test_what_is_remembered_is_bounded() -> None:
    """Whatever is told."""
    once = Once()
    assert all(once.news(number) for number in range(10_000))
    assert len(once._last) <= 256
