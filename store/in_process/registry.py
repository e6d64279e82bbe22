"""The commands by name: how many words each takes, and whether scripts may call it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

Function = TypeVar("Function", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Command:
    """`run` gets the database (or the session, for a command of a connection) and the words after the name.

    `arity` counts the name too; below 0: that many at least.
    """

    name: str
    arity: int
    run: Callable[..., object]
    of_session: bool = False

    def fits(self, words: int) -> bool:
        """Whether it can be called with so many words, the name included."""
        return words == self.arity if self.arity > 0 else words >= -self.arity


COMMANDS: dict[bytes, Command] = {}


def command(name: str, arity: int, *, of_session: bool = False) -> Callable[[Function], Function]:
    """Register a function as a command. One `of_session` belongs to a connection: scripts may not call it."""

    def register(function: Function) -> Function:
        COMMANDS[name.encode()] = Command(name, arity, function, of_session)
        return function

    return register
