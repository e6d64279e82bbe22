"""Tags filters: what each comparison means, what is refused, and that equal ones are one."""

import gc
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.realtime.protocol.codes import CommandError, ErrorCode
from flotilla.realtime.protocol.filters import MAX_BYTES, MAX_DEPTH, MAX_NODES, Filter, _known, parse


def made(node: Any) -> Filter:
    return parse(msgspec.json.encode(node))


def leaf(cmp: str, val: str = "", *, key: str = "ticker", vals: list[str] | None = None) -> dict[str, Any]:
    given: dict[str, Any] = {"key": key, "cmp": cmp}
    return given | ({"val": val} if val else {}) | ({"vals": vals} if vals is not None else {})


BTC, ETH = {"ticker": "BTC"}, {"ticker": "ETH"}
NONE: dict[str, str] = {}


@pytest.mark.parametrize(
    ("node", "wanted", "unwanted"),
    [
        (leaf("eq", "BTC"), [BTC], [ETH, NONE, {"other": "BTC"}]),
        (leaf("neq", "BTC"), [ETH, NONE], [BTC]),
        (leaf("in", vals=["BTC", "SOL"]), [BTC, {"ticker": "SOL"}], [ETH, NONE]),
        (leaf("in", vals=["BTC", ""]), [BTC, NONE], [ETH]),
        (leaf("nin", vals=["BTC"]), [ETH, NONE], [BTC]),
        (leaf("ex"), [BTC], [NONE]),
        (leaf("nex"), [NONE], [BTC]),
        (leaf("sw", "BT"), [BTC], [ETH, NONE, {"ticker": "xBT"}]),
        (leaf("ew", "TC"), [BTC], [ETH, NONE, {"ticker": "TCx"}]),
        (leaf("ct", "T"), [BTC, ETH], [{"ticker": "SOL"}, NONE]),
        (leaf("gt", "9.5"), [{"ticker": "10"}, {"ticker": "9.50000000000000001"}], [{"ticker": "9.5"}, BTC, NONE]),
        (leaf("gte", "9.5"), [{"ticker": "10"}, {"ticker": "+9.500"}], [{"ticker": "9"}, {"ticker": "1e9"}]),
        (leaf("lt", "9"), [{"ticker": "-10"}], [{"ticker": "9"}, {"ticker": "9" * 500}, {"ticker": "nan"}]),
        (leaf("lte", "9"), [{"ticker": "9.0"}], [{"ticker": "9.01"}, {"ticker": ""}]),
        (leaf("gt", "many"), [], [{"ticker": "10"}]),
        ({"op": "and", "nodes": [leaf("eq", "BTC"), leaf("ex", key="price")]}, [{**BTC, "price": "1"}], [BTC, NONE]),
        ({"op": "or", "nodes": [leaf("eq", "BTC"), leaf("eq", "ETH")]}, [BTC, ETH], [NONE]),
        ({"op": "not", "nodes": [leaf("eq", "BTC")]}, [ETH, NONE], [BTC]),
        ({"op": None, "key": "ticker", "cmp": "eq", "val": "BTC", "vals": None, "nodes": None}, [BTC], [ETH]),
    ],
    ids=lambda value: value.get("cmp") or value["op"] if isinstance(value, dict) else "",
)
def test_what_a_filter_wants(node: Any, wanted: list[dict[str, str]], unwanted: list[dict[str, str]]) -> None:
    matches = made(node).matches
    assert [matches(tags) for tags in wanted] == [True] * len(wanted)
    assert [matches(tags) for tags in unwanted] == [False] * len(unwanted)


def deep(levels: int) -> dict[str, Any]:
    node = leaf("in", vals=["BTC"])
    for _ in range(levels - 1):
        node = {"op": "not", "nodes": [node]}
    return node


def wide(nodes: int) -> dict[str, Any]:
    return {"op": "or", "nodes": [leaf("eq", str(number)) for number in range(nodes - 1)]}


@pytest.mark.parametrize("node", [deep(MAX_DEPTH), wide(MAX_NODES), leaf("in", vals=["x" * 80] * 180)])
def test_as_much_as_a_filter_may_have(node: Any) -> None:
    assert len(msgspec.json.encode(node)) <= MAX_BYTES
    made(node)


@pytest.mark.parametrize(
    ("node", "why"),
    [
        (deep(MAX_DEPTH + 1), "nested deeper"),
        (deep(20_000), "larger than"),
        (wide(MAX_NODES + 1), "more than 64 nodes"),
        (leaf("in", vals=["x" * MAX_BYTES]), "larger than"),
        ({}, "has a cmp"),
        ([], "not a filter"),
        ("eq", "not a filter"),
        (leaf("like", "B"), "no cmp 'like'"),
        (leaf("eq"), "has a val"),
        (leaf("eq", "BTC", vals=["BTC"]), "no vals"),
        (leaf("eq", "BTC", key=""), "has a key"),
        (leaf("in", "BTC"), "has vals"),
        (leaf("in", "BTC", vals=["BTC"]), "no val"),
        (leaf("ex", "BTC"), "neither"),
        ({"op": "xor", "nodes": [leaf("ex")]}, "no op 'xor'"),
        ({"op": "and"}, "at least one"),
        ({"op": "not", "nodes": [leaf("ex"), leaf("ex")]}, "has one node"),
        ({**leaf("ex"), "nodes": [leaf("ex")]}, "belong to"),
        ({"key": 7, "cmp": "ex"}, "not a filter"),
        ({"op": "or", "nodes": [leaf("ex"), leaf("eq")]}, "has a val"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_used_is_a_bad_request_that_says_why(node: Any, why: str) -> None:
    text = b'{"op":"not","nodes":[' * 20_000 if why == "larger than" and "op" in node else msgspec.json.encode(node)
    with pytest.raises(CommandError, match=why) as caught:
        parse(text)
    assert caught.value.code == ErrorCode.BAD_REQUEST


@pytest.mark.parametrize("text", [b"{", b'{"key":"a","cmp":"eq","val":"\\ud83d"}', b'\xff{"key":"a"}', b"[[[[" * 100])
def test_what_is_no_json_or_no_text(text: bytes) -> None:
    with pytest.raises(CommandError):
        parse(text)


def test_filters_that_mean_the_same_are_one_while_they_are_used() -> None:
    one = made({"op": "or", "nodes": [leaf("eq", "BTC"), leaf("in", vals=["A", "B"])]})
    same = made({"nodes": [leaf("in", vals=["B", "A", "A"]), leaf("eq", "BTC")], "op": "or"})
    assert same is one
    assert made(leaf("eq", "BTC")) != one
    assert len({one, same, made(leaf("eq", "BTC"))}) == 2
    name = repr(one)
    del one, same
    gc.collect()
    assert name not in [repr(known) for known in _known.values()]


nodes = st.recursive(
    st.builds(
        leaf, st.sampled_from(["eq", "neq", "sw", "gt"]), st.sampled_from(["a", "ab", "1"]), key=st.sampled_from("kl")
    ),
    lambda inner: st.one_of(
        st.builds(lambda node: {"op": "not", "nodes": [node]}, inner),
        st.builds(
            lambda op, parts: {"op": op, "nodes": parts},
            st.sampled_from(["and", "or"]),
            st.lists(inner, min_size=1, max_size=3),
        ),
    ),
    max_leaves=6,
)


@given(nodes, st.dictionaries(st.sampled_from("kl"), st.sampled_from(["a", "ab", "1", "2"])))
def test_a_not_turns_any_filter_around(node: dict[str, Any], tags: dict[str, str]) -> None:
    try:
        turned = made({"op": "not", "nodes": [node]})
    except CommandError:
        return  # deeper than may be
    assert turned.matches(tags) is not made(node).matches(tags)


@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,opkeycmvalsnd', max_size=60).map(str.encode))
def test_whatever_is_sent_is_a_filter_or_a_bad_request(text: bytes) -> None:
    try:
        parse(text)
    except CommandError as error:
        assert error.code == ErrorCode.BAD_REQUEST
