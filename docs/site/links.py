"""Markdown's links: found, taken apart and rewritten, except in code. Pure functions; GitHub's names of headings.

A document's links are those that work on a page of the repository: relative to the document, `#anchor` as GitHub names
headings. They lead to files and folders of the repository.
"""

import posixpath
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_FENCE = re.compile(r"^ *(```+|~~~+)")
_CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)")
_LINK = re.compile(r"\]\(([^()\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$")
_ELSEWHERE = re.compile(r"^[a-z][a-z0-9+.-]*:")


@dataclass(frozen=True, slots=True)
class Link:
    """Where a link leads: a path in the repository ("" for none) and the anchor there ("" for none)."""

    path: str
    anchor: str


def lead(source: str, target: str) -> Link | None:
    """Where `target` leads from a document at `source`; None for addresses of the web."""
    if _ELSEWHERE.match(target):
        return None
    path, _, anchor = target.partition("#")
    if not path:
        return Link(source, anchor)
    return Link(posixpath.normpath(posixpath.join(posixpath.dirname(source), path)), anchor)


def links(text: str) -> Iterator[str]:
    """The targets of all links of a document, in order."""
    for line in _outside_fences(text):
        for found in _LINK.finditer(_CODE.sub("", line)):
            yield found.group(1)


def rewritten(text: str, target_for: Callable[[str], str]) -> str:
    """The document with every link's target replaced by what `target_for` makes of it."""

    def line_with_links(line: str) -> str:
        codes = [found.span() for found in _CODE.finditer(line)]

        def replaced(found: re.Match[str]) -> str:
            inside = any(begin <= found.start() < end for begin, end in codes)
            return found.group() if inside else f"]({target_for(found.group(1))})"

        return _LINK.sub(replaced, line)

    return "".join(line_with_links(line) if is_text else line for line, is_text in _lines(text))


def headings(text: str) -> list[str]:
    """The anchors of a document as GitHub names them: one that comes again gets -1, -2, …"""
    found: list[str] = []
    seen: dict[str, int] = {}
    for line in _outside_fences(text):
        if heading := _HEADING.match(line.rstrip("\n")):
            slug = _slug(heading.group(1))
            found.append(slug if slug not in seen else f"{slug}-{seen[slug]}")
            seen[slug] = seen.get(slug, 0) + 1
    return found


def title(text: str) -> str:
    """The first heading, without markup."""
    for line in _outside_fences(text):
        if heading := _HEADING.match(line.rstrip("\n")):
            return heading.group(1).replace("`", "")
    return ""


def _slug(heading: str) -> str:
    plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def _outside_fences(text: str) -> Iterator[str]:
    return (line for line, is_text in _lines(text) if is_text)


def _lines(text: str) -> Iterator[tuple[str, bool]]:
    """Every line with its end, and whether it is text: not of a fenced block."""
    fence = ""
    for line in text.splitlines(keepends=True):
        mark = _FENCE.match(line)
        if fence:
            yield line, False
            if mark and mark.group(1).startswith(fence) and line.strip() == mark.group(1):
                fence = ""
        elif mark:
            fence = mark.group(1)
            yield line, False
        else:
            yield line, True
