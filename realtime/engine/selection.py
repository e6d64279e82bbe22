"""Which publications the filters of a channel's subscriptions want.

A publication's tags are read once, and only where a filter asks; each distinct filter is asked once about it, however
many subscriptions have it.
"""

from collections.abc import Iterable, Sequence

from flotilla.realtime.engine.publication import Publication
from flotilla.realtime.protocol.bodies import tags_of
from flotilla.realtime.protocol.filters import Filter, Tags


class Selection:
    """What filters say. Remembers the answers about the publication that was asked about last."""

    __slots__ = ("_about", "_answers", "_tags")

    def __init__(self) -> None:
        self._about: Publication | None = None
        self._tags: Tags = {}
        self._answers: dict[Filter, bool] = {}

    def wants(self, filter: Filter | None, publication: Publication) -> bool:
        """Whether a filter wants a publication. None wants all."""
        if filter is None:
            return True
        if self._about is not publication:
            self._about, self._tags, self._answers = publication, tags_of(publication.body), {}
        answer = self._answers.get(filter)
        if answer is None:
            answer = self._answers[filter] = filter.matches(self._tags)
        return answer

    def chosen(self, filters: Iterable[Filter | None], publications: Sequence[Publication]) -> dict[Filter, list[int]]:
        """The places of the publications that each of the filters wants."""
        places: dict[Filter, list[int]] = {one: [] for one in filters if one is not None}
        for place, publication in enumerate(publications):
            for filter, wanted in places.items():
                if self.wants(filter, publication):
                    wanted.append(place)
        return places
