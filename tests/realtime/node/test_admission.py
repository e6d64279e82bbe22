"""Admission: so many at a time, by network in turn, and nobody can keep others out by saying nothing."""

import asyncio
import random

import pytest

from flotilla.realtime.client.node import TooManyWait
from flotilla.realtime.node import admission
from flotilla.realtime.node.admission import Admission


async def turns(times: int = 3) -> None:
    """Let what is ready run."""
    for _ in range(times):
        await asyncio.sleep(0)


def gate(max_places: int) -> Admission:
    return Admission(max_places, asyncio.get_running_loop().time)


async def test_who_comes_first_is_let_in_first() -> None:
    """As places are given back; twice counts once."""
    made = gate(2)
    inside = [await made.enter(), await made.enter()]
    order: list[int] = []

    async def come(number: int) -> None:
        await made.enter()
        order.append(number)

    comers = [asyncio.ensure_future(come(number)) for number in range(3)]
    await turns()
    assert (order, made.waiting) == ([], 3)
    made.leave(inside[0])
    made.leave(inside[0])
    await turns()
    assert (order, made.waiting) == ([0], 2)
    made.leave(inside[1])
    await turns()
    assert (order, made.waiting) == ([0, 1], 1)
    made.open()
    await asyncio.gather(*comers)
    assert order == [0, 1, 2]
    await made.enter()


async def test_those_who_come_wait_for_those_who_are_in_and_ask_for_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    """These never wait; each takes a place until it was answered, or for as long as a connect would."""
    made = gate(2)
    await made.enter()
    asking = [made.begins() for _ in range(2)]
    comer = asyncio.ensure_future(made.enter())
    await turns()
    assert made.waiting == 1
    made.ends(asking[0])
    made.ends(asking[0])
    await turns()
    assert made.waiting == 1
    made.ends(asking[1])
    assert await asyncio.wait_for(comer, 5)
    monkeypatch.setattr(admission, "PATIENCE", 0.1)
    made.begins()
    late = asyncio.ensure_future(made.enter())
    await turns()
    assert made.waiting == 1
    assert await asyncio.wait_for(late, 5)  # though the subscribe goes on


async def test_who_gives_up_waiting_takes_no_place() -> None:
    """Neither while it waits nor in the moment in which its turn has come."""
    made = gate(1)
    ticket = await made.enter()
    gone, turned, last = (asyncio.ensure_future(made.enter()) for _ in range(3))
    await turns()
    gone.cancel()
    await turns()
    made.leave(ticket)
    turned.cancel()
    assert await asyncio.wait_for(last, 5)
    assert gone.cancelled() and turned.cancelled()
    assert made.waiting == 0


async def test_a_silent_client_keeps_its_place_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a few of them would keep everybody out."""
    monkeypatch.setattr(admission, "PATIENCE", 0.05)
    made = gate(1)
    first = await made.enter()
    second = await asyncio.wait_for(made.enter(), 5)
    made.leave(first)  # too late: the place is another's
    waiting = asyncio.ensure_future(made.enter())
    await turns()
    assert made.waiting == 1
    made.leave(second)
    await asyncio.wait_for(waiting, 5)


async def test_a_held_gate_lets_in_only_as_told() -> None:
    """A place that is given back lets nobody in, and whoever comes waits, though there is room."""
    made = gate(2)
    inside = [await made.enter(), await made.enter()]
    comers = [asyncio.ensure_future(made.enter()) for _ in range(3)]
    await turns()
    made.hold()
    for ticket in inside:
        made.leave(ticket)
    comers.append(asyncio.ensure_future(made.enter()))
    await turns()
    assert made.waiting == 4
    made.let_in(3)
    await turns()
    assert [comer.done() for comer in comers] == [True, True, True, False]
    made.open()
    await asyncio.gather(*comers)


async def test_everybody_let_in_is_counted() -> None:
    now = 50.0
    made = Admission(100, lambda: now)
    for _ in range(7):
        await made.enter()
    now = 52.0
    await made.enter()
    assert (made.admitted.total, made.admitted.most(now)) == (8, 7)


class Comers:
    """Clients of one address that come to a gate, in order. `tickets`: of those who were let in, by number."""

    def __init__(self, gate: Admission, address: str, count: int) -> None:
        self.gate = gate
        self.turns = [gate.ask(address) for _ in range(count)]

    @property
    def inside(self) -> list[int]:
        """The numbers of those who were let in."""
        return [number for number, turn in enumerate(self.turns) if turn.done() and turn.exception() is None]

    def ticket(self, number: int) -> int:
        return self.turns[number].result()

    async def connect(self, *numbers: int) -> None:
        for number in numbers:
            await self.gate.connects(self.ticket(number))

    def leave(self, *numbers: int) -> None:
        for number in numbers:
            self.gate.leave(self.ticket(number))


async def test_another_address_is_let_in_at_once_however_many_of_one_say_nothing() -> None:
    """The silent give way, and are let in no more than there are places."""
    made = gate(4)
    silent = Comers(made, "192.0.2.1", 100)
    honest = Comers(made, "192.0.2.2", 1)
    assert (honest.inside, len(silent.inside), made.gave_way) == ([0], 4, 1)


async def test_another_address_is_let_in_at_once_while_one_is_served_slowly() -> None:
    """Places of clients that have asked are not taken; there are a few more for networks that hold none."""
    made = gate(8)
    slow = Comers(made, "192.0.2.1", 100)
    await slow.connect(*slow.inside)
    honest = Comers(made, "192.0.2.2", 2)
    assert (honest.inside, len(slow.inside)) == ([0], 8)
    slow.leave(0, 1, 2)
    assert honest.inside == [0, 1]


async def test_addresses_have_their_turns_one_after_another() -> None:
    """However many wait of one; those of one address in the order they came."""
    made = gate(1)
    first = Comers(made, "192.0.2.9", 1)
    await first.connect(0)
    many = Comers(made, "192.0.2.1", 50)
    others = [Comers(made, f"192.0.2.{number}", 2) for number in (2, 3)]
    await many.connect(0)  # it came in beside the places
    first.leave(0)
    at = many.ticket(0)
    order = []
    for _ in range(6):
        everybody = [turn for comers in (many, *others) for turn in comers.turns if turn.done()]
        made.leave(at)
        (new,) = [turn for c in (many, *others) for turn in c.turns if turn.done() and turn not in everybody]
        order.append(next(name for name, c in zip("abc", (many, *others), strict=True) if new in c.turns))
        at = new.result()
        await made.connects(at)
    assert sorted(order[:3]) == sorted(order[3:]) == ["a", "b", "c"]
    assert many.inside == [0, 1, 2]


async def test_networks_of_ipv6_are_compared_where_they_part() -> None:
    """Another /64 is another household; many /64 of one /48 are one customer."""
    made = gate(4)
    Comers(made, "2001:db8:1:1::1", 50)
    neighbour = Comers(made, "2001:db8:1:2::1", 1)
    assert neighbour.inside == [0]
    many = [Comers(made, f"2001:db8:2:{number:x}::1", 1) for number in range(50)]
    other = Comers(made, "2001:db9::1", 1)
    assert other.inside == [0]
    assert sum(len(comers.inside) for comers in many) < 10


async def test_who_asks_takes_the_place_of_one_who_says_nothing() -> None:
    """Else it waits only for those who have asked as well, and before those whose handshake waits."""
    made = gate(4)
    late = Comers(made, "192.0.2.1", 4)
    Comers(made, "192.0.2.2", 2)  # they take the places of two
    outside = Comers(made, "192.0.2.1", 5)
    await late.connect(0, 1, 2, 3)  # none of them waits: two take the others' places
    assert outside.inside == []
    silent = Comers(made, "192.0.2.3", 1)
    assert silent.inside == [0]  # beside the places
    late.leave(0)
    late.leave(1)
    assert outside.inside == [0]


async def test_a_storm_that_asks_is_let_in_as_places_are_given_back() -> None:
    """No address is held back while there is room, and nobody beyond the places while they are used."""
    made = Admission(10, lambda: 50.0)
    storm = Comers(made, "192.0.2.1", 1000)
    done = 0
    while done < 1000:
        inside = storm.inside[done:]
        assert len(inside) == min(10, 1000 - done)
        await storm.connect(*inside)
        storm.leave(*inside)
        done += len(inside)
    assert (made.gave_way, made.waiting) == (0, 0)


async def test_too_many_who_wait_are_refused_where_most_come_from() -> None:
    """The newest of them; those of other addresses wait on."""
    made = Admission(1, asyncio.get_running_loop().time, max_waiting=10)
    inside = Comers(made, "192.0.2.9", 1)
    await inside.connect(0)
    spare = Comers(made, "192.0.2.8", 1)
    await spare.connect(0)
    few = Comers(made, "192.0.2.1", 2)
    many = Comers(made, "192.0.2.2", 20)
    few_more = Comers(made, "192.0.2.1", 2)
    refused = [turn for turn in (*many.turns, *few.turns, *few_more.turns) if turn.done()]
    assert refused == many.turns[6:]
    assert all(isinstance(turn.exception(), TooManyWait) for turn in refused)
    assert (made.waiting, made.refused) == (10, 14)


async def test_silent_clients_without_a_place_are_ended_when_there_are_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The oldest of the address that has most of them."""
    monkeypatch.setattr(admission, "PATIENCE", 0.0)
    made = Admission(1, asyncio.get_running_loop().time, max_waiting=3)
    ended: list[int] = []

    def come(address: str) -> int:
        ticket = made.ask(address).result()
        made.end_by(ticket, lambda: (ended.append(ticket), made.leave(ticket))[0])
        return ticket

    other = come("192.0.2.1")
    silent = [come("192.0.2.2") for _ in range(6)]
    await turns()
    assert ended == silent[: len(ended)] != []
    assert other not in ended
    assert made.silent <= 4


async def test_the_longest_wait_is_known() -> None:
    now = 50.0
    made = Admission(1, lambda: now)
    inside = Comers(made, "192.0.2.1", 1)
    await inside.connect(0)
    spare = Comers(made, "192.0.2.2", 1)
    await spare.connect(0)
    assert made.longest_wait == 0.0
    waiting = Comers(made, "192.0.2.3", 1)
    now = 50.5
    Comers(made, "192.0.2.3", 1)
    now = 52.0
    assert made.longest_wait == 2.0
    made.withdraw(waiting.turns[0])
    assert made.longest_wait == 1.5


async def test_nothing_is_left_of_clients_that_have_gone() -> None:
    """Whatever they did, in whatever order; there are never more inside than there is room for."""
    rng = random.Random(11)
    made = Admission(5, asyncio.get_running_loop().time, max_waiting=30)
    here: list[asyncio.Future[int]] = []
    tasks = []
    for step in range(3000):
        kind = rng.random()
        if kind < 0.5 or not here:
            address = rng.choice(("192.0.2.%d", "2001:db8:%x::1")) % rng.randrange(6)
            here.append(made.ask(address))
        elif kind < 0.8:
            made.withdraw(here.pop(rng.randrange(len(here))))
        else:
            turn = rng.choice(here)
            if turn.done() and turn.exception() is None:
                tasks.append(asyncio.ensure_future(made.connects(turn.result())))
        here = [turn for turn in here if not (turn.done() and turn.exception())]
        assert made._inside.size <= 6
        assert made.waiting + len(made._returning) == made._outside.size <= 30
        if step % 50 == 0:
            await turns()
    for turn in here:
        made.withdraw(turn)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert not made._clients
    assert not any(made._since.values())
    assert all(not shares.size and not shares._inner for shares in (made._inside, made._silent, made._outside))
    assert not made._displaced.size
    assert not made._handshakes
