"""What an incarnation keeps: doubt, idleness, generations."""

from flotilla.presence.entries import Named
from flotilla.presence.incarnation import Incarnation


def incarnation_with(*scopes: str) -> Incarnation:
    incarnation = Incarnation("a.1")
    for scope in scopes:
        incarnation.open(scope, 100.0).entries["c"] = Named("c", "u", b"")
    return incarnation


def test_doubt_raises_the_generation_and_keeps_the_scope() -> None:
    incarnation = incarnation_with("c:x")
    incarnation.doubt("c:x")
    assert incarnation.generation == 2
    incarnation.records["c:x"].entries.clear()
    incarnation.settle("c:x", 0.0)
    assert incarnation.close_idle(10.0, 10) == []
    assert "c:x" in incarnation.records


def test_lost_registry_doubts_and_unregisters_everything() -> None:
    incarnation = incarnation_with("c:x", "c:y")
    incarnation.records["c:x"].registered = True
    incarnation.doubt_registry(50.0)
    assert list(incarnation.doubted) == ["c:x", "c:y"]
    assert incarnation.recall
    assert not incarnation.records["c:x"].registered
    assert incarnation.records["c:x"].refresh_at == 50.0


def test_idle_scope_is_closed_after_its_time_only() -> None:
    incarnation = incarnation_with("c:x")
    incarnation.records["c:x"].entries.clear()
    incarnation.settle("c:x", 5.0)
    assert incarnation.close_idle(4.9, 10) == []
    assert incarnation.close_idle(5.0, 10) == ["c:x"]
    assert incarnation.records == {}


def test_idle_scope_that_came_back_to_life_is_kept() -> None:
    incarnation = incarnation_with("c:x", "c:y")
    for scope in ("c:x", "c:y"):
        incarnation.records[scope].entries.clear()
        incarnation.settle(scope, 5.0)
    incarnation.records["c:x"].entries["d"] = Named("d", "u", b"")
    incarnation.records["c:y"].calls += 1
    assert incarnation.close_idle(9.0, 10) == []
    assert not incarnation.idle
    assert set(incarnation.records) == {"c:x", "c:y"}


def test_closing_is_bounded_and_can_be_taken_back() -> None:
    incarnation = incarnation_with("c:x", "c:y")
    for scope in ("c:x", "c:y"):
        incarnation.records[scope].entries.clear()
        incarnation.settle(scope, 0.0)
    closed = incarnation.close_idle(1.0, 1)
    assert closed == ["c:x"]
    incarnation.reopen_idle(closed, 2.0)
    assert set(incarnation.close_idle(3.0, 10)) == {"c:x", "c:y"}
