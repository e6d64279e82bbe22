"""Whose word counts of what nodes say about a cluster, and how it is read."""

import pytest

from flotilla.store.cluster_view import Owner, View, best, counts, is_older, nodes_named, read, related
from flotilla.store.errors import Unreadable

NODES = (
    b"aa 10.0.0.1:7000@17000,one myself,master - 0 0 3 connected 0-100\n"
    b"bb 10.0.0.2:7000@17000,two master,fail? - 0 0 7 connected 101-16383\n"
    b"cc 10.0.0.3:7000@17000,three slave aa 0 0 3 connected\n"
)
INFO = b"cluster_state:ok\r\ncluster_current_epoch:7\r\ncluster_my_epoch:3\r\n"
ASKED = ("seed", 7009)


def slots(*hosts: tuple[bytes | None, list[bytes]]) -> list[object]:
    """What CLUSTER SLOTS says where two masters have these hosts, and these facts beside."""
    (first, of_first), (second, of_second) = hosts
    return [
        [0, 100, [first, 7000, b"aa", of_first], [b"10.0.0.3", 7000, b"cc", []]],
        [101, 16383, [second, 7001, b"bb", of_second]],
    ]


def view(*owners: tuple[str, int], well: bool = True, ids: str = "abc") -> View:
    """Of a cluster whose slots 0, 1, … have these owners (a host and the number of the takeover)."""
    ranges = tuple((slot, slot, Owner((host, 1), epoch)) for slot, (host, epoch) in enumerate(owners))
    epoch = max((epoch for _, epoch in owners), default=0)
    return View(frozenset(ids), (), ranges, epoch, well, failing=False)


def test_an_answer_is_read() -> None:
    found = read(ASKED, slots((b"10.0.0.1", []), (b"10.0.0.2", [])), NODES, INFO)
    assert found.owner(100) == Owner(("10.0.0.1", 7000), 3)
    assert found.owner(101) == Owner(("10.0.0.2", 7001), 7)
    assert found.owner(16384) is None
    assert found.nodes == (("10.0.0.1", 7000), ("10.0.0.3", 7000), ("10.0.0.2", 7001))
    assert found.ids == {"aa", "bb", "cc"} and found.well and found.failing and found.epoch == 7


@pytest.mark.parametrize(
    ("host", "facts", "reached"),
    [
        (b"one.example", [b"ip", b"10.0.0.1"], "one.example"),
        (b"fe80::1", [], "fe80::1"),
        (b"", [], "seed"),
        (None, [], "seed"),
        (None, [b"ip", b"10.0.0.1"], "seed"),
        (b"?", [], "seed"),
        (b"?", [b"ip", b"10.0.0.1"], "10.0.0.1"),
    ],
)
def test_a_node_is_where_it_says_or_where_the_one_that_was_asked_is(
    host: bytes | None, facts: list[bytes], reached: str
) -> None:
    found = read(ASKED, slots((host, facts), (b"10.0.0.2", [])), NODES, INFO).owner(0)
    assert found is not None and found.node == (reached, 7000)


def test_older_servers_say_nothing_beside_host_port_and_id() -> None:
    told = [[0, 16383, [b"10.0.0.1", 7000, b"aa"]]]
    found = read(ASKED, told, NODES, INFO).owner(5)
    assert found is not None and found.node == ("10.0.0.1", 7000)


@pytest.mark.parametrize(
    "answers",
    [
        ([[0]], NODES, INFO),
        (b"OK", NODES, INFO),
        ([], b"aa", INFO),
        ([], NODES, b""),
        ([], b"\xff", INFO),
        ([[0, 1, [b"h", b"port", b"aa"]]], NODES, INFO),
    ],
)
def test_an_answer_of_another_shape_is_a_fault(answers: tuple[object, bytes, bytes]) -> None:
    with pytest.raises(Unreadable):
        read(ASKED, *answers)  # type: ignore[arg-type]


def test_who_knows_of_the_last_takeover_counts() -> None:
    known, older, newer = view(("new", 5)), view(("old", 2)), view(("newest", 6))
    assert counts(known, None, {0}) and counts(newer, known, {0}) and counts(known, known, {0})
    assert not counts(older, known, {0}) and is_older(older, known, {0})
    assert counts(older, known, set())  # no slot of ours


def test_what_has_no_owner_or_sees_a_cluster_that_is_down_does_not_count() -> None:
    assert not counts(view(("one", 1)), None, {1})
    assert not counts(view(("one", 1), well=False), None, {0})


def test_a_cluster_is_amiss_while_a_master_that_has_slots_may_have_failed() -> None:
    """Not for ever, where a node stays away and another has its slots."""
    told = slots((b"10.0.0.1", []), (b"10.0.0.2", []))
    assert read(ASKED, told, NODES, INFO).failing
    assert not read(ASKED, told[:1], NODES, INFO).failing
    assert not read(ASKED, told, NODES.replace(b"fail?", b"nofailover"), INFO).failing


def test_strangers_do_not_count() -> None:
    known, stranger = view(("one", 1)), view(("other", 9), ids="xyz")
    assert not related(stranger, known) and not counts(stranger, known, {0})
    assert best([stranger, view(("one", 0), well=False)], known).ids == known.ids
    assert best([view(("one", 1)), view(("two", 4)), view(("three", 5), well=False)], None).epoch == 4


@pytest.mark.parametrize(
    ("told", "named"),
    [
        ("MOVED 682 10.0.0.2:7001", [("10.0.0.2", 7001)]),
        ("MOVED 682 fe80::2:7001", [("fe80::2", 7001)]),
        ("MOVED 682 :7001", [("two", 7001)]),
        ("MOVED 682 ?:7001", [("two", 7001)]),
        ("MOVED 682 :7005", []),
        ("MOVED", []),
    ],
)
def test_who_has_a_slot_is_read_from_a_refusal(told: str, named: list[tuple[str, int]]) -> None:
    assert nodes_named(told, [("one", 7000), ("two", 7001)]) == named
