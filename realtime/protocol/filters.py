"""Tags filters: which publications of a channel a subscription wants, by their tags.

A filter is a tree of comparisons of one tag each, joined by `and`, `or` and `not`. It is checked and compiled once,
when a client subscribes. Filters that mean the same are equal and, as long as one of them is used, one object: what a
publication's tags are to a filter is found out once, not for every subscription.
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from operator import ge, gt, le, lt
from typing import Any
from weakref import WeakValueDictionary

from msgspec import Struct

from flotilla.realtime.protocol import foreign
from flotilla.realtime.protocol.codes import CommandError, ErrorCode
from flotilla.realtime.protocol.nesting import nested

MAX_BYTES = 16 * 1024  # of a filter as a client sends it
MAX_NODES = 64
MAX_DEPTH = 8  # nodes in each other
MAX_NUMBER = 64  # characters of a number that is compared

Tags = Mapping[str, str]
Test = Callable[[Tags], bool]

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?", re.ASCII)


class FilterNode(Struct):
    """One node, as clients send it: `op` and `nodes`, or without an `op` a comparison of the tag `key` with `val` or
    `vals`."""

    op: str = ""
    key: str = ""
    cmp: str = ""
    val: str = ""
    vals: list[str] = []
    nodes: "list[FilterNode]" = []


class Filter:
    """A filter that was checked. Equal to another that means the same."""

    __slots__ = ("__weakref__", "_canonical", "_hash", "matches")

    def __init__(self, canonical: tuple[Any, ...], matches: Test) -> None:
        """`matches`: whether a publication with such tags is wanted."""
        self.matches = matches
        self._canonical = canonical
        self._hash = hash(canonical)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Filter) and self._canonical == other._canonical)

    def __repr__(self) -> str:
        return f"Filter{self._canonical}"


_known: WeakValueDictionary[tuple[Any, ...], Filter] = WeakValueDictionary()


def parse(text: bytes) -> Filter:
    """A filter as a client sends it, in JSON. Raises CommandError 107 for one that cannot be used."""
    if len(text) > MAX_BYTES:
        raise _refused(f"larger than {MAX_BYTES} bytes")
    levels = 2 * MAX_DEPTH  # each node is an object in a list
    if text.count(b"{") + text.count(b"[") > levels and nested(text) > levels:
        raise _refused(f"nested deeper than {MAX_DEPTH} nodes")
    try:
        node, unfit = foreign.read(text, FilterNode)
    except foreign.UNREADABLE:
        raise _refused("not a filter") from None
    if unfit:
        raise _refused("a text in it has half of a character")
    return compiled(node)


def compiled(root: FilterNode) -> Filter:
    """A filter whose texts were read. Raises CommandError 107 for one that cannot be used."""
    _require_small(root)
    canonical, matches = _node(root)
    known = _known.get(canonical)
    if known is None:
        known = _known[canonical] = Filter(canonical, matches)
    return known


def _refused(why: str) -> CommandError:
    return CommandError(ErrorCode.BAD_REQUEST, f"the tags filter cannot be used: {why}")


def _require_small(root: FilterNode) -> None:
    level, nodes = [root], 0
    for _ in range(MAX_DEPTH):
        nodes += len(level)
        if nodes > MAX_NODES:
            raise _refused(f"more than {MAX_NODES} nodes")
        level = [child for node in level for child in node.nodes]
        if not level:
            return
    raise _refused(f"nested deeper than {MAX_DEPTH} nodes")


def _node(node: FilterNode) -> tuple[tuple[Any, ...], Test]:
    """What a node means, as a value that others with the same meaning have too, and the test that it makes."""
    if not node.op:
        return _comparison(node)
    if node.op not in ("and", "or", "not"):
        raise _refused(f"there is no op {node.op[:40]!r}")
    if node.op == "not":
        if len(node.nodes) != 1:
            raise _refused("a not has one node")
        inner, test = _node(node.nodes[0])
        return ("not", inner), lambda tags: not test(tags)
    if not node.nodes:
        raise _refused(f"an {node.op} has at least one node")
    parts = dict(map(_node, node.nodes))
    tests = tuple(parts.values())
    canonical = (node.op, frozenset(parts))
    if node.op == "and":
        return canonical, lambda tags: all(test(tags) for test in tests)
    return canonical, lambda tags: any(test(tags) for test in tests)


def _comparison(node: FilterNode) -> tuple[tuple[Any, ...], Test]:
    cmp, key = node.cmp, node.key
    if node.nodes:
        raise _refused("nodes belong to and, or, not")
    if cmp in ("ex", "nex"):
        _require(not node.val and not node.vals, f"{cmp} has neither val nor vals")
        return (cmp, key), (lambda tags: key in tags) if cmp == "ex" else (lambda tags: key not in tags)
    make = _OF_ONE_VALUE.get(cmp)
    if make is None and cmp not in ("in", "nin"):
        raise _refused(f"there is no cmp {cmp[:40]!r}" if cmp else "a comparison has a cmp")
    _require(bool(key), "a comparison has a key")
    if make is None:
        _require(bool(node.vals) and not node.val, f"{cmp} has vals, and no val")
        vals = frozenset(node.vals)
        wanted = cmp == "in"
        return (cmp, key, vals), lambda tags: (tags.get(key, "") in vals) is wanted
    _require(bool(node.val) and not node.vals, f"{cmp} has a val, and no vals")
    return (cmp, key, node.val), make(key, node.val)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise _refused(otherwise)


def _number(text: str | None) -> Decimal | None:
    """A tag or a value as a number, None if it is none."""
    if text is None or len(text) > MAX_NUMBER or _NUMBER.fullmatch(text) is None:
        return None
    return Decimal(text)


def _numeric(compare: Callable[[Decimal, Decimal], bool]) -> Callable[[str, str], Test]:
    """A comparison of numbers: what is none, on either side, does not match."""

    def make(key: str, val: str) -> Test:
        bound = _number(val)

        def test(tags: Tags) -> bool:
            number = _number(tags.get(key))
            return number is not None and bound is not None and compare(number, bound)

        return test

    return make


_OF_ONE_VALUE: dict[str, Callable[[str, str], Test]] = {
    "eq": lambda key, val: lambda tags: tags.get(key) == val,
    "neq": lambda key, val: lambda tags: tags.get(key) != val,
    "sw": lambda key, val: lambda tags: key in tags and tags[key].startswith(val),
    "ew": lambda key, val: lambda tags: key in tags and tags[key].endswith(val),
    "ct": lambda key, val: lambda tags: key in tags and val in tags[key],
    "gt": _numeric(gt),
    "gte": _numeric(ge),
    "lt": _numeric(lt),
    "lte": _numeric(le),
}
"""By the comparison: from a key and a value to the test. A tag that is missing matches `neq` alone."""
