"""What the stretch of cable in a process does with a frame, and what netem is told of the same."""

import random

from tests.networks.delays import Weather

NOW = 100.0


def dues(weather: Weather, count: int = 1000) -> list[float | None]:
    chance = random.Random(1)
    return [weather.due(NOW, chance) for _ in range(count)]


def test_without_jitter_frames_keep_their_order() -> None:
    assert set(dues(Weather(delay=0.15))) == {NOW + 0.15}


def test_jitter_is_around_the_delay_and_never_into_the_past() -> None:
    found = [due for due in dues(Weather(delay=0.02, jitter=0.05)) if due is not None]
    assert min(found) == NOW
    assert NOW + 0.06 < max(found) <= NOW + 0.07


def test_a_share_is_lost() -> None:
    assert 60 < dues(Weather(loss=0.1)).count(None) < 140


def test_a_share_overtakes() -> None:
    assert 190 < dues(Weather(delay=0.03, overtaking=0.25)).count(NOW) < 310


def test_netem_is_told_the_same() -> None:
    words = Weather(delay=0.15, jitter=0.03, loss=0.1, overtaking=0.25).netem()
    assert words == ["limit", "20000", "delay", "150ms", "30ms", "loss", "10.0%", "reorder", "25.0%"]
    assert Weather(delay=0.01).netem() == ["limit", "20000", "delay", "10ms"]
