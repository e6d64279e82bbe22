"""Where cards are: boards, and the keys that they can have."""

BOARDS = 4
BEATS = tuple(range(1, BOARDS + 1))  # one card of each board, whose counter goes up all the time
SLOTS = tuple(range(100, 260))  # the cards that come, change, move and go
