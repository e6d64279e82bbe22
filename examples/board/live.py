"""What makes tickets live. Whatever changes one, this API, the admin, a shell: the pages of its board follow."""

from flotilla import LiveModel, live

from .api import TicketSerializer
from .models import Ticket


@live("tickets:{board_id}")
class TicketLive(LiveModel):
    """A board's tickets."""

    model = Ticket
    serializer = TicketSerializer
