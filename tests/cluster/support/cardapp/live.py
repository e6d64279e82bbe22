"""Cards are shown in the channel of their board."""

from flotilla import LiveModel, live
from tests.cluster.support.cardapp.models import Card


@live("cards:{board}")
class CardLive(LiveModel):
    """A card with everything that it has."""

    model = Card
    fields = ("id", "board", "generation", "counter", "title")
