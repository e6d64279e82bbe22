"""What of the desk is shown where."""

from flotilla import LiveModel, live
from tests.realtime.live.desk.models import Plain, Task, Ticket


@live("board:{board_id}")
class TicketLive(LiveModel):
    model = Ticket
    fields = ("id", "title", "state", "position", "price", "author", "changed_at")


@live("task:{board_id}")
class TaskLive(LiveModel):
    model = Task
    fields = ("title", "hours")


@live("shelf:{board_id}")
class PlainLive(LiveModel):
    model = Plain
    fields = ("id", "title", "position", "state", "board")
