"""What a campaign of networks says of each fault."""

from tests.chaos.checker import Violation
from tests.chaos.log import Acknowledged, Closed, Delivered, Event, Opened, Subscribed, Told
from tests.networks.faults import ANY, KINDS, Fault
from tests.networks.hosts import REDIS
from tests.networks.report import WHOLE_WITHIN, Mark, Row, _by_mark, not_made, not_whole, rows

FAULT = Fault(KINDS[0], (ANY, REDIS), 10)


def mark(began: float) -> Mark:
    return Mark(FAULT, "instance-0", began, began + 10, 1.0, 2.0)


def test_what_clients_noticed_is_counted_with_the_fault_that_had_begun() -> None:
    events: list[Event] = [
        Opened(1.0, 1, "anna", "a"),
        Acknowledged(5.0, "room:1", 1, "e", 1, 4.9),
        Delivered(12.0, 1, "room:1", 1, 1),  # sent before the fault
        Acknowledged(13.0, "room:1", 2, "e", 2, 12.9),
        Delivered(13.1, 1, "room:1", 2, 2),
        Acknowledged(14.0, "room:1", 3, "e", 3, 13.5),
        Closed(20.0, 1, 1006),
        Closed(20.0, 2, 0),
        Subscribed(21.0, 3, "room:1", "e", 2, ("e", 2), recovered=True),
        Delivered(21.5, 1, "room:1", 3, 3),
        Told(30.0, 1, "room:1", 2500),
        Subscribed(31.0, 3, "room:1", "e", 2, ("e", 2), recovered=False),
    ]
    assert rows(events, [mark(10.0), mark(25.0)]) == [Row(1, 8.0, 1, 0), Row(0, 0.0, 0, 2)]


def test_a_violation_belongs_to_the_last_fault_that_had_begun() -> None:
    found = _by_mark([Violation("gap", at, "") for at in (5.0, 15.0, 16.0, 40.0)], [mark(10.0), mark(25.0)])
    assert dict(found) == {-1: 1, 0: 2, 1: 1}


def test_faults_that_were_never_made_are_named() -> None:
    assert FAULT.name not in not_made({FAULT.name: 1}, 10)
    assert FAULT.name in not_made({}, 10)


def test_who_is_late_to_be_whole_is_named_unless_the_machine_stood_still() -> None:
    late = WHOLE_WITHIN + 1
    assert [one.kind for one in not_whole([Mark(FAULT, "", 0.0, 10.0, 1.0, late)])] == ["not whole"]
    assert not_whole([Mark(FAULT, "", 0.0, 10.0, 1.0, late, held_up=True), mark(1.0)]) == []
