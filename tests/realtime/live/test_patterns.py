"""From a row's values to a channel, and from a channel back."""

import pytest
from django.db.models import CharField, Field, IntegerField, Q, UUIDField

from flotilla.realtime.live.patterns import Pattern, PatternFault

FIELDS: "dict[str, Field]" = {"a": CharField(), "b": CharField(), "n": IntegerField(), "u": UUIDField()}  # type: ignore[type-arg]


@pytest.mark.parametrize(
    ("text", "values", "channel"),
    [
        ("board:{n}", {"n": 7}, "board:7"),
        ("board:{n}", {"n": None}, None),
        ("board:{a}:{n}", {"a": "x", "n": 0}, "board:x:0"),
        ("news", {}, "news"),
        ("board:{{n}}:{n}", {"n": 1}, "board:{n}:1"),
    ],
)
def test_channels(text: str, values: dict[str, object], channel: str | None) -> None:
    assert Pattern(text).channel(values) == channel


@pytest.mark.parametrize(
    ("text", "channel", "rows"),
    [
        ("board:{n}", "board:7", Q(n=7)),
        ("board:{n}", "board:07", None),
        ("board:{n}", "board:", None),
        ("board:{n}", "boards:7", None),
        ("board:{n}", "board:7x", None),
        ("board:{n}", "board:x", None),
        ("news", "news", Q()),
        ("news", "newsx", None),
        ("b:{a}-{n}", "b:x-y-3", Q(a="x-y", n=3)),
        ("b:{a}-{b}", "b:x-y-z", Q(a="x", b="y-z") | Q(a="x-y", b="z")),
        ("b:{n}{a}", "b:12x", Q(n=1, a="2x") | Q(n=12, a="x")),
        ("b:{n}:{n}", "b:1:1", Q(n=1)),
        ("b:{n}:{n}", "b:1:2", None),
        ("b:{a}-{b}", "b:" + "-" * 100, None),
        ("b:{a}-{b}-{a}-{b}-{u}-{n}_{n}", "b:" + "-" * 200, None),
        ("b:{n}", f"b:{2**63}", None),
        ("b:{n}", f"b:{-(2**63)}", Q(n=-(2**63))),
    ],
)
def test_rows(text: str, channel: str, rows: Q | None) -> None:
    assert Pattern(text).rows(channel, FIELDS) == rows


@pytest.mark.parametrize(
    ("text", "namespace"),
    [("board:{n}", "board"), ("$board:{n}", "board"), ("news", None), ("#{a}", None), (":{n}", "")],
)
def test_namespaces(text: str, namespace: str | None) -> None:
    assert Pattern(text).namespace == namespace


def test_a_namespace_is_no_field() -> None:
    with pytest.raises(PatternFault, match="names its namespace by a field"):
        _ = Pattern("{a}:{n}").namespace
