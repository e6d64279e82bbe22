"""When a delta is sent, and how it is applied; deltas that other implementations make are understood."""

import pytest

from flotilla.realtime.protocol.fossil import MAX_PAYLOAD, BadDelta, apply_delta, worthwhile_delta

SOURCE = b'{"room":"garden","people":["anna","bert","carla"],"open":true}'
TARGET = b'{"room":"garden","people":["anna","dora","carla"],"open":true}'


def test_a_delta_is_made_where_it_is_shorter() -> None:
    delta = worthwhile_delta(SOURCE, TARGET)
    assert delta is not None and len(delta) < len(TARGET)
    assert apply_delta(SOURCE, delta) == TARGET


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (b"", TARGET),
        (b"x" * 500, TARGET),
        (b"12345", b"12346"),
        (SOURCE, b"{}"),
        (b"x" * 10, b"x" * (MAX_PAYLOAD + 1)),
        (b"x" * (MAX_PAYLOAD + 1), b"x" * 100),
    ],
)
def test_whole_payloads_are_sent_where_they_are_short_or_beyond_the_bound(source: bytes, target: bytes) -> None:
    assert worthwhile_delta(source, target) is None


def test_the_bound_itself_is_within() -> None:
    target = b"x" * MAX_PAYLOAD
    delta = worthwhile_delta(target, target)
    assert delta is not None and apply_delta(target, delta) == target


ROWS = "".join(f'{{"id":{i},"text":"größe {i * i}"}},' for i in range(12)).encode()
ROWS_SINCE = "".join(f'{{"id":{i},"text":"größe {i * i + (i == 4)}"}},' for i in (3, 4, 5, 6, 7, 0, 1, 2, 11)).encode()


@pytest.mark.parametrize(
    ("source", "target", "delta"),
    [  # made by fdelta and fossil-delta in Go, and by npm's fossil-delta
        (SOURCE, TARGET, b'z\nZ@0,R:dora","carla"],"open":true}jI5MP;'),
        (ROWS, ROWS_SINCE, b'43\n7:{"id":3H@~,T@1h,1:71W@2A,1:0H@~,12@O,2:11H@~,6:121"},2iSIKs;'),
        (ROWS, ROWS_SINCE, b'43\n6@0,1:3H@~,T@1h,1:71W@2A,1:0H@~,1:09@1i,1:1H@~,b@p,2:11H@~,6:121"},2iSIKs;'),
        (ROWS, ROWS_SINCE, b'43\n7:{"id":3H@~,A@3W,1:4H@~,2:171W@2A,1:0H@~,12@O,2:11H@~,6:121"},2iSIKs;'),
    ],
)
def test_deltas_of_other_implementations_are_applied(source: bytes, target: bytes, delta: bytes) -> None:
    assert apply_delta(source, delta) == target


@pytest.mark.parametrize(
    "delta",
    [
        b"",
        b"5",
        b"5\n",
        b"5\n5:hello",
        b"5\n5:hello3NPMmi;",  # another checksum
        b"5\n5:hello3NPMmh",
        b"5\n5:hello3NPMmh;x",
        b"5\n6:hello!3NPMmh;",
        b"5\n4:hell3NPMmh;",
        b"6\n5:hello3NPMmh;",
        b"5 5:hello3NPMmh;",
        b"5\n5!hello3NPMmh;",
        b"5\n:hello3NPMmh;",
        b"5\n5:he",
        b"5\n5@0",
        b"5\n5@0;",
        b"5\n5@~~,3NPMmh;",  # beyond the source
        b"5\n1000000000000000@0,3NPMmh;",
        b"~~~~~~\n",
        b"5\n5@\xff,",
    ],
)
def test_what_is_no_delta_of_the_source_is_refused(delta: bytes) -> None:
    with pytest.raises(BadDelta):
        apply_delta(SOURCE, delta)


def test_a_target_beyond_what_is_wanted_is_refused() -> None:
    delta = worthwhile_delta(SOURCE, TARGET)
    assert delta is not None
    with pytest.raises(BadDelta):
        apply_delta(SOURCE, delta, len(TARGET) - 1)
