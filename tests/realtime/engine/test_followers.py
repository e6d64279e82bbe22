"""Who follows a channel: what is written to them, and how often it is made."""

from collections.abc import Sequence

import pytest

from flotilla.realtime.conf import ChannelOptions
from flotilla.realtime.engine.followers import Followers
from flotilla.realtime.engine.publication import Publication
from flotilla.realtime.engine.subscription import Subscription
from flotilla.realtime.engine.traffic import Traffic
from flotilla.realtime.engine.view import View
from flotilla.realtime.protocol.encodings import JSON
from flotilla.realtime.protocol.filters import FilterNode, compiled
from flotilla.realtime.protocol.formats import WebSocketFormat
from flotilla.realtime.protocol.frames import Frame
from flotilla.realtime.protocol.replies import publication_body


class CountingFormat(WebSocketFormat):
    """Counts its frames."""

    made = 0

    def frame(self, payloads: Sequence[bytes]) -> Frame:
        self.made += 1
        return super().frame(payloads)


class Reader:
    """A subscriber that is its own socket."""

    busy = False
    descriptor = -1
    waiting = 0

    def __init__(self) -> None:
        self.payloads: list[bytes] = []

    @property
    def socket(self) -> "Reader":
        return self

    def send(self, frame: Frame) -> None:
        self.payloads.append(frame.payload)

    def too_slow(self) -> None: ...

    def lose_position(self, subscription: Subscription) -> None: ...


@pytest.mark.parametrize("past_joining", [False, True])
def test_filters_that_want_the_same_cost_one_frame(*, past_joining: bool) -> None:
    """Anybody may have a filter of their own, and a frame may be one that is compressed."""
    followers, format = Followers("news", ChannelOptions(), Traffic()), CountingFormat(JSON)
    before = format.made
    readers = [Reader() for _ in range(40)]
    for number, reader in enumerate(readers):
        wanted = compiled(FilterNode(key="of", cmp="neq", val=str(number)))
        followers.add(Subscription(reader, "news", view=View(format, filter=wanted)))
    bodies = [publication_body(b"%d" % number, None, {"of": str(number)}) for number in range(2)]
    publications = [Publication(0, body) for body in bodies]
    if past_joining:
        assert sum(followers.write_past((), one) for one in publications) == 2 * 39
    else:
        assert followers.write(publications) == 2 * 39
    assert format.made - before == (2 if past_joining else 3)
    said = [[b'"data":0' in b"".join(one.payloads), b'"data":1' in b"".join(one.payloads)] for one in readers]
    assert said == [[False, True], [True, False], *[[True, True]] * 38]
