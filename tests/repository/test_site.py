"""The site of the documents: every document is in it, no link is broken, and its references say what the code says.

That it builds without a warning is `make docs`, which the last test runs where Sphinx is installed.
"""

import importlib.util
import os
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

import flotilla._public
from docs.site import assemble, functions_reference, reference, settings_reference
from docs.site.build import build
from docs.site.links import headings, lead, links, rewritten
from docs.site.pages import HOME, ROOT, SECTIONS, name_of
from flotilla.conf import parts

SETTINGS = (ROOT / "docs" / "SETTINGS.md").read_text()
FUNCTIONS = (ROOT / "docs" / "FUNCTIONS.md").read_text()
LOADED = re.compile(r"""<(?:link|script|img|iframe|source)\b[^>]*\b(?:href|src)="(?P<address>[^"]+)\"""")


def test_every_document_has_its_place_and_every_link_leads_somewhere() -> None:
    assert assemble.problems() == []


# Links


def test_links_in_code_are_none() -> None:
    text = (
        "[a](a.md) `[b](b.md)` ``[c](c.md)`` [d](d.md#x)\n```\n[e](e.md)\n```\n~~~~\n[f](f.md)\n~~~\n~~~~\n[g](g.md)\n"
    )
    assert list(links(text)) == ["a.md", "d.md#x", "g.md"]
    assert rewritten(text, lambda target: target.upper()) == text.replace("](a.md)", "](A.MD)").replace(
        "](d.md#x)", "](D.MD#X)"
    ).replace("](g.md)", "](G.MD)")


def test_a_link_leads_to_a_path_of_the_repository() -> None:
    assert lead("docs/A.md", "https://example.com/") is None
    assert lead("docs/A.md", "mailto:a@example.com") is None
    for target, path, anchor in (
        ("B.md", "docs/B.md", ""),
        ("../deploy/haproxy.cfg", "deploy/haproxy.cfg", ""),
        ("decisions/0001.md#why", "docs/decisions/0001.md", "why"),
        ("#here", "docs/A.md", "here"),
    ):
        link = lead("docs/A.md", target)
        assert link is not None
        assert (link.path, link.anchor) == (path, anchor)


def test_headings_have_github_s_anchors() -> None:
    text = "# `serve`: what it costs\n## Who is who?\n```\n# a comment\n```\n## Who is who?\n"
    text += "### readiness_down\n## [A](b.md) — b\n"
    assert headings(text) == ["serve-what-it-costs", "who-is-who", "who-is-who-1", "readiness_down", "a--b"]


# What is wrong is named


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A small repository, with everything that the navigation lists, and with links that lead somewhere."""
    for source in [HOME, *(source for _, sources in SECTIONS for source in sources)]:
        path = tmp_path / source
        if path.suffix == ".md":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"# {source}\n")
    (tmp_path / "docs" / "decisions").mkdir()
    (tmp_path / "docs" / "decisions" / "0001-a.md").write_text("# 1. A\n\n[b](../CLIENTS.md)\n")
    (tmp_path / "docs" / "images").mkdir()
    (tmp_path / "docs" / "images" / "a.png").write_bytes(b"")
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "a.cfg").write_text("a ```` b\n")
    (tmp_path / HOME).write_text(
        "# Home\n[c](docs/CLIENTS.md#docsclientsmd) [d](docs/decisions/) [i](docs/images/a.png)"
        " [f](deploy/a.cfg) [x](#home)\n"
    )
    return tmp_path


def test_a_small_repository_is_whole(repository: Path) -> None:
    assert assemble.problems(repository) == []


@pytest.mark.parametrize(
    ("link", "why"),
    [
        ("docs/NOWHERE.md", "leads nowhere"),
        ("docs/CLIENTS.md#nobody", "leads to a heading that is not there"),
        ("#nobody", "leads to a heading that is not there"),
    ],
)
def test_a_broken_link_is_named(repository: Path, link: str, why: str) -> None:
    (repository / HOME).write_text(f"# Home\n\n[x]({link})\n")
    assert assemble.problems(repository) == [f"README.md: {link} {why}"]
    with pytest.raises(assemble.BrokenLinks, match=why):
        assemble.assemble(repository / "out", repository)


def test_a_document_outside_the_navigation_is_named(repository: Path) -> None:
    (repository / "docs" / "FORGOTTEN.md").write_text("# Forgotten\n")
    assert assemble.problems(repository) == ["docs/FORGOTTEN.md is not in docs/site/pages.py"]
    (repository / "docs" / "CLIENTS.md").unlink()
    assert "docs/CLIENTS.md is in docs/site/pages.py and not there" in assemble.problems(repository)


def test_links_are_turned_to_the_pages_of_the_site(repository: Path) -> None:
    out = repository / "out"
    assemble.assemble(out, repository)
    home = (out / "index.md").read_text()
    assert list(links(home)) == [
        "clients.md#docsclientsmd",
        "decisions/index.md",
        "images/a.png",
        "files/deploy/a_cfg.md",
        "#home",
    ]
    assert "a ```` b" in (out / "files" / "deploy" / "a_cfg.md").read_text()
    assert list(links((out / "decisions" / "0001-a.md").read_text())) == ["../clients.md"]
    assert "0001-a" in (out / "decisions" / "index.md").read_text()
    assert all(name_of(source) in home for _, sources in SECTIONS for source in sources)


# What is made from the code


def test_the_references_say_what_the_code_says() -> None:
    assert reference.stale() == [], "`make reference` writes them anew"


def test_every_setting_is_in_the_reference() -> None:
    keys = [key for part in parts() for key in part.keys]
    assert len(keys) > 60
    assert [key for key in keys if f"\n| `{key}` |" not in SETTINGS] == []


def test_every_public_name_is_in_the_reference() -> None:
    public = flotilla._public.__all__
    twins = {name for name in public if name[0] == "a" and name[1:] in public}
    names = {"apps", *public} - twins
    assert len(names) > 15
    assert [name for name in names if f"\n### {name}\n" not in FUNCTIONS] == []
    assert [name for name in twins if f"`await {name}(…)`" not in FUNCTIONS] == []


class Explained(msgspec.Struct):
    """Two fields."""

    first: int = 3
    """What it is,
    over two lines."""
    second: tuple[str, ...] = ()
    """And another"""


class Unexplained(msgspec.Struct):
    first: int = 3
    """What it is."""
    second: int = 4
    third: int = 5


def test_a_setting_says_what_it_means() -> None:
    assert settings_reference.sentences(Explained) == {"first": "What it is, over two lines.", "second": "And another"}
    with pytest.raises(settings_reference.MissingSentence, match="second, third"):
        settings_reference.sentences(Unexplained)


def unexplained(value: int) -> None: ...


def explained(value: int, *more: str, key: str = 'a "b"', **rest: Any) -> dict[str, int]:
    """It has."""
    return {}


def test_a_function_says_what_it_does() -> None:
    with pytest.raises(functions_reference.MissingDocstring, match="unexplained"):
        list(functions_reference.entry("unexplained", unexplained, ""))
    shown = 'explained(value: int, *more: str, key: str = "a \\"b\\"", **rest: Any) -> dict[str, int]'
    assert functions_reference.signature("explained", explained) == shown


# The whole


@pytest.mark.timeout(300)
def test_the_site_builds_and_asks_no_other_host(tmp_path: Path) -> None:
    if importlib.util.find_spec("furo") is None:
        pytest.skip("Sphinx and its theme are not installed (requirements-docs.txt, `make docs`)")
    build(tmp_path / "site", tmp_path / "sources")
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 40
    assert {f"{name_of(source)}.html" for _, sources in SECTIONS for source in sources} <= {
        page.relative_to(tmp_path / "site").as_posix() for page in pages
    }
    addresses = {(page, found["address"]) for page in pages for found in LOADED.finditer(page.read_text())}
    assert len(addresses) > 200
    assert [address for _, address in addresses if re.match(r"(https?:)?//", address)] == []
    assert [
        (page.name, address)
        for page, address in addresses
        if not address.startswith(("data:", "#")) and not os.path.exists(page.parent / re.split(r"[?#]", address)[0])
    ] == []
