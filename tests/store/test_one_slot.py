"""The look at every call of a shard finds what is not the shard's own (`one_slot`)."""

import pytest

from flotilla.store.slots import key_slot, tags
from tests.store.one_slot import slots

OWN, OTHER = (f"{{{tag}}}" for tag in tags(12)[:2])
TOPIC = f"flotilla__group__{OTHER}0123"


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("GET", f"p:{OWN}:a"), [OWN]),
        (("DEL", f"p:{OWN}:a", f"p:{OTHER}:a"), [OWN, OTHER]),
        (("HSET", f"p:{OWN}:a", f"p:{OTHER}:field", "1"), [OWN]),
        (("BLPOP", f"p:{OWN}:a", "0.1"), [OWN]),
        (("SPUBLISH", TOPIC, "message"), [OTHER]),
        (("EVALSHA", "sha", "2", f"a{OWN}", f"b{OWN}", "argument"), [OWN]),
        (("EVALSHA", "sha", "1", f"a{OWN}", TOPIC, "argument"), [OWN, OTHER]),
        (("EVALSHA", "sha", "2", f"a{OWN}", f"b{OTHER}"), [OWN, OTHER]),
        (("INFO", "server"), []),
    ],
)
def test_the_slots_of_a_command(words: tuple[str, ...], names: list[str]) -> None:
    assert slots([word.encode() for word in words]) == {key_slot(name) for name in names}
