"""An incarnation's books: doubt, idleness, generations."""

from flotilla.presence.entries import Named
from flotilla.presence.incarnation import Life


def life_with(*scopes: str) -> Life:
    life = Life("a.1")
    for scope in scopes:
        life.open(scope, 100.0).entries["c"] = Named("c", "u", b"")
    return life


def test_doubt_raises_the_generation_and_keeps_the_scope() -> None:
    life = life_with("c:x")
    life.doubt("c:x")
    assert life.generation == 2
    life.records["c:x"].entries.clear()
    life.settle("c:x", 0.0)
    assert life.close_idle(10.0, 10) == []
    assert "c:x" in life.records


def test_lost_registry_doubts_and_unregisters_everything() -> None:
    life = life_with("c:x", "c:y")
    life.records["c:x"].registered = True
    life.doubt_registry(50.0)
    assert list(life.doubted) == ["c:x", "c:y"]
    assert life.recall
    assert not life.records["c:x"].registered
    assert life.records["c:x"].refresh_at == 50.0


def test_idle_scope_is_closed_after_its_time_only() -> None:
    life = life_with("c:x")
    life.records["c:x"].entries.clear()
    life.settle("c:x", 5.0)
    assert life.close_idle(4.9, 10) == []
    assert life.close_idle(5.0, 10) == ["c:x"]
    assert life.records == {}


def test_idle_scope_that_came_back_to_life_is_kept() -> None:
    life = life_with("c:x", "c:y")
    for scope in ("c:x", "c:y"):
        life.records[scope].entries.clear()
        life.settle(scope, 5.0)
    life.records["c:x"].entries["d"] = Named("d", "u", b"")
    life.records["c:y"].calls += 1
    assert life.close_idle(9.0, 10) == []
    assert not life.idle
    assert set(life.records) == {"c:x", "c:y"}


def test_closing_is_bounded_and_can_be_taken_back() -> None:
    life = life_with("c:x", "c:y")
    for scope in ("c:x", "c:y"):
        life.records[scope].entries.clear()
        life.settle(scope, 0.0)
    closed = life.close_idle(1.0, 1)
    assert closed == ["c:x"]
    life.reopen_idle(closed, 2.0)
    assert set(life.close_idle(3.0, 10)) == {"c:x", "c:y"}
