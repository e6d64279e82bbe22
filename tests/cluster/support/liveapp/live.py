"""Each board is a channel."""

from flotilla import LiveModel, live
from tests.cluster.support.liveapp.models import Ticket


@live("live:{board_id}")
class TicketLive(LiveModel):
    """Tickets by their names, which stay when one is deleted and made again."""

    model = Ticket
    key = "name"
    fields = ("name", "turn")
