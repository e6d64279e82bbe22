"""Which faults of networks are made, in which order, and what of them the checker is told."""

from itertools import islice

from tests.networks.faults import ANY, KINDS, LINKS, UNPLUGGED, WHOLE, Fault, all_of, schedule
from tests.networks.hosts import BALANCER, CLIENTS, REDIS


def test_every_kind_is_made_on_every_link_before_any_is_made_longer() -> None:
    short, long = all_of(10), all_of(60)
    made = [*islice(schedule(1), len(short) + len(long))]
    assert len(short) == len(KINDS) * len(LINKS) + len(WHOLE)
    assert len(long) == 3 * len(LINKS) + len(WHOLE)
    assert {fault.name for fault in made[: len(short)]} == {fault.name for fault in short}
    assert {fault.name for fault in made[len(short) :]} == {fault.name for fault in long}


def test_a_seed_repeats_its_faults() -> None:
    assert [*islice(schedule(7), 60)] == [*islice(schedule(7), 60)]
    assert [*islice(schedule(7), 60)] != [*islice(schedule(8), 60)]


def test_only_those_that_are_asked_for() -> None:
    assert {fault.place for fault in islice(schedule(1, only="client"), 30)} == {f"{CLIENTS} – {BALANCER}"}
    assert [*schedule(1, only="nowhere")] == []
    assert [*schedule(1, only="slow", delays=False)] == []


def test_what_silences_a_redis_frees_limits_that_fail_open_and_what_delays_does_not() -> None:
    by_name = {kind.name: kind for kind in KINDS}
    assert Fault(by_name["cut"], (ANY, REDIS), 10).away
    assert Fault(UNPLUGGED, (ANY, ANY), 10).away
    assert not Fault(by_name["slow"], (ANY, REDIS), 10).away
    assert not Fault(by_name["cut"], (BALANCER, ANY), 10).away
