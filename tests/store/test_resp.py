"""Packed commands, and what is made of parts of them."""

from hashlib import sha1

from hypothesis import given
from hypothesis import strategies as st

from flotilla.store.resp import Argument, array, in_full, pack, words

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
ARGUMENTS = st.lists(st.one_of(st.binary(max_size=40), TEXT, st.integers()), min_size=1, max_size=8)


@given(ARGUMENTS, ARGUMENTS)
def test_parts_make_a_whole_command(first: list[Argument], rest: list[Argument]) -> None:
    """As if it was packed at once."""
    assert array(len(first) + len(rest)) + words(*first) + words(*rest) == pack((*first, *rest))


@given(st.binary(min_size=1, max_size=300), ARGUMENTS)
def test_a_call_is_made_one_with_the_whole_script(script: bytes, arguments: list[Argument]) -> None:
    """Of whatever it was packed."""
    sha = sha1(script).hexdigest()
    assert in_full(pack(("EVALSHA", sha, *arguments)), sha, script) == pack(("EVAL", script, *arguments))
