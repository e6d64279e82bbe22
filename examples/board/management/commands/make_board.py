"""`manage.py make_board`: a board to try the example with; `make run` calls it."""

from typing import Any

from examples.board.models import Board, Ticket
from flotilla.command_line import OurCommand

TICKETS = ("Paint the hull", "Mend the sails", "Hire a cook", "Draw the charts", "Weigh anchor")


class Command(OurCommand):
    """Makes it where there is no board at all; what was deleted since stays deleted."""

    help = "Makes the board “launch” with five tickets, where there is no board."
    examples = (("", "a board with five tickets"),)
    shape = {"made": ()}

    def handle(self, *, as_json: bool, **_: Any) -> None:
        made = not Board.objects.exists()
        if made:
            board = Board.objects.create(name="launch")
            states = [Ticket.State.DONE, Ticket.State.DOING, *[Ticket.State.TODO] * 3]
            for number, (title, state) in enumerate(zip(TICKETS, states, strict=True)):
                Ticket.objects.create(board=board, title=title, state=state, position=number)
        if as_json:
            self.tell({"made": made})
