"""What subscriptions with deltas are sent of a channel: against which publication, and what of it.

A delta is made against the payload that a subscription was sent last. All that follow a channel in a process are sent
the same publications in the same order, so one payload is kept for all of them, for each encoding that is in use. Who
has not been sent it yet (a newcomer, or one that was fed apart) is sent the next publication whole, and has it then.
"""

from collections.abc import Iterable, Sequence

from flotilla.realtime.engine.publication import Publication
from flotilla.realtime.engine.view import Deltas, View
from flotilla.realtime.protocol.encodings import Encoding
from flotilla.realtime.protocol.fossil import worthwhile_delta

Bodies = list[bytes]


class Chains:
    """The payload that every subscription of a channel which follows with deltas was sent last, by its encoding."""

    __slots__ = ("_newest",)

    def __init__(self) -> None:
        self._newest: dict[Encoding, bytes] = {}

    def extend(
        self, views: Iterable[View], publications: Sequence[Publication], *, always: bool
    ) -> dict[tuple[Encoding, Deltas], Bodies]:
        """Take publications (at least one) that are now sent to all; gives their bodies for each view with deltas.
        `always`: they need not have been published for that."""
        wanted = {(view.format.encoding, view.deltas) for view in views if view.deltas}
        encodings = {encoding for encoding, _ in wanted}
        for encoding in [one for one in self._newest if one not in encodings]:
            del self._newest[encoding]
        bodies = {}
        for encoding in encodings:
            bodies[encoding, Deltas.NEXT] = found = [self._next(encoding, one, always) for one in publications]
            if (encoding, Deltas.FIRST) in wanted:
                bodies[encoding, Deltas.FIRST] = [encoding.whole(publications[0].body), *found[1:]]
        return bodies

    def _next(self, encoding: Encoding, publication: Publication, always: bool) -> bytes:
        body, before = publication.body, self._newest.get(encoding)
        self._newest[encoding] = payload = encoding.payload(body)
        if before is None or not (always or publication.delta):
            return encoding.whole(body)
        delta = worthwhile_delta(before, payload)
        return encoding.whole(body) if delta is None else encoding.changed(body, delta)
