"""Messages of any kind, parsed: commands come out, or one of two codes, and nothing else is raised."""

import msgspec
import pytest

from flotilla.realtime.protocol.codes import CommandError, DisconnectCode, DisconnectError
from flotilla.realtime.protocol.commands import Command, Unfit, decoded, parse
from tests.fuzzing import MAX_SECONDS, cases, lines

MAX = 256
pytestmark = pytest.mark.timeout(MAX_SECONDS)


def test_messages_are_commands_or_end_the_connection() -> None:
    for name, chance in cases(least=5_000):
        text = lines(chance)
        try:
            found = parse(text, MAX)
        except DisconnectError as error:
            assert error.code in (DisconnectCode.BAD_REQUEST, DisconnectCode.TOO_MANY_REQUESTS), name
            assert error.code == DisconnectCode.BAD_REQUEST or text.count("\n") >= MAX, name
            continue
        assert len(found) == text.count("\n") + (not text.endswith("\n")), name
        for command in found:
            check(name, command)


def check(name: str, command: Command) -> None:
    """What handlers rely on."""
    assert 0 <= command.id < 2**32, name
    body = getattr(command, command.method) if command.method else None
    if isinstance(command, Unfit) or not isinstance(getattr(body, "data", None), msgspec.Raw) or not bytes(body.data):
        return
    try:
        decoded(body.data)
    except CommandError as error:
        assert error.code == 107, name
