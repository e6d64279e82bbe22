"""Puts the site's sources together in one folder: every document under its name there, links turned to the pages.

A link to a file that is no document (a configuration, an example's code) leads to a page that shows the file, so that
the site needs neither a network nor an address of the repository. Raises BrokenLinks with all that lead nowhere.
"""

import posixpath
import shutil
from collections.abc import Iterator
from pathlib import Path

from docs.site.links import headings, lead, links, rewritten, title
from docs.site.pages import DECISIONS, HOME, ROOT, SECTIONS, SHORT_TITLES, decisions, listed, name_of

LANGUAGES = {".py": "python", ".js": "js", ".toml": "toml", ".yml": "yaml", ".yaml": "yaml", ".conf": "nginx"}
IMAGES = {".png", ".svg"}


class BrokenLinks(Exception):
    """Links or documents that are wrong; `problems` has all of them."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


def documents(root: Path = ROOT) -> tuple[str, ...]:
    """Every document that is a page of its own, by its path in the repository."""
    return (*(source for source in listed() if source != DECISIONS), *decisions(root))


def problems(root: Path = ROOT) -> list[str]:
    """Documents without a place in the navigation, and links that lead nowhere: also to an anchor that is not there."""
    pages = set(documents(root))
    found = [f"{source} is not in docs/site/pages.py" for source in _documents_of_docs(root) if source not in pages]
    found += [f"{source} is in docs/site/pages.py and not there" for source in pages if not (root / source).is_file()]
    anchors = {source: headings((root / source).read_text()) for source in pages if (root / source).is_file()}
    for source in anchors:
        for target in links((root / source).read_text()):
            if why := _wrong(root, source, target, anchors):
                found.append(f"{source}: {target} {why}")
    return sorted(found)


def assemble(target: Path, root: Path = ROOT) -> None:
    """Fill `target`, which is made anew, with the site's sources. Raises BrokenLinks."""
    if found := problems(root):
        raise BrokenLinks(found)
    shutil.rmtree(target, ignore_errors=True)
    shown: set[str] = set()
    for source in documents(root):
        text = (root / source).read_text()
        if source == HOME:
            text += _navigation()
        _write(target, name_of(source), _turned(root, source, text, shown))
    _write(target, name_of(DECISIONS), _list_of_decisions(root))
    for path in sorted(shown):
        _write(target, _page_of_file(path), _shown(root, path, shown))
    shutil.copytree(root / "docs" / "images", target / "images")


def _documents_of_docs(root: Path) -> Iterator[str]:
    yield from (path.relative_to(root).as_posix() for path in sorted((root / "docs").glob("*.md")))


def _wrong(root: Path, source: str, target: str, anchors: dict[str, list[str]]) -> str:
    link = lead(source, target)
    if link is None:
        return ""
    if not (root / link.path).exists():
        return "leads nowhere"
    if link.anchor and link.anchor not in anchors.get(link.path, ()):
        return "leads to a heading that is not there"
    return ""


def _turned(root: Path, source: str, text: str, shown: set[str]) -> str:
    """The document with links to pages of the site; files that become pages for its sake are added to `shown`."""
    here = name_of(source)

    def target_for(target: str) -> str:
        link = lead(source, target)
        if link is None:
            return target
        if Path(link.path).suffix in IMAGES:
            return _relative(here, link.path.removeprefix("docs/"))
        if link.path == DECISIONS or link.path in documents(root):
            page = name_of(link.path)
        else:
            page = _page_of_file(link.path)
            shown.update({link.path, *_files_in(root, link.path)})
        anchor = f"#{link.anchor}" if link.anchor else ""
        return anchor if page == here and anchor else _relative(here, f"{page}.md") + anchor

    return rewritten(text, target_for)


def _files_in(root: Path, path: str) -> tuple[str, ...]:
    folder = root / path
    return (
        tuple(f"{path}/{file.name}" for file in sorted(folder.iterdir()) if file.is_file()) if folder.is_dir() else ()
    )


def _shown(root: Path, path: str, shown: set[str]) -> str:
    """A page that shows a file, or lists a folder's."""
    head = f"---\norphan: true\n---\n\n# {path}\n\n"
    if files := _files_in(root, path):
        here = _page_of_file(path)
        return head + "".join(f"- [{file}]({_relative(here, _page_of_file(file))}.md)\n" for file in files)
    language = LANGUAGES.get(Path(path).suffix, "text")
    return f"{head}`````{language}\n{(root / path).read_text().rstrip()}\n`````\n"


def _page_of_file(path: str) -> str:
    """The page of a file: a leading dot or an ending `.md` would hide it or be taken for ours."""
    return "files/" + posixpath.normpath(path).replace(".", "_")


def _list_of_decisions(root: Path) -> str:
    lines = [
        "# Decisions",
        "",
        "Why it is built this way: for each question what was decided, why, and what was left.",
        "",
    ]
    for source in decisions(root):
        heading = title((root / source).read_text())
        lines.append(f"- [{heading.replace('. ', ' · ', 1)}]({_relative(name_of(DECISIONS), name_of(source))}.md)")
    entries = "".join(f"{_relative(name_of(DECISIONS), name_of(source))}\n" for source in decisions(root))
    return "\n".join(lines) + f"\n\n```{{toctree}}\n:hidden:\n\n{entries}```\n"


def _navigation() -> str:
    """The tables of contents, one for each section, that Sphinx makes the side bar of."""
    parts = []
    for caption, sources in SECTIONS:
        names = "".join(f"{_entry(source)}\n" for source in sources)
        parts.append(f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{names}```\n")
    return "".join(parts)


def _entry(source: str) -> str:
    return f"{SHORT_TITLES[source]} <{name_of(source)}>" if source in SHORT_TITLES else name_of(source)


def _relative(page: str, target: str) -> str:
    return posixpath.relpath(target, posixpath.dirname(page) or ".")


def _write(target: Path, name: str, text: str) -> None:
    path = target / f"{name}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
