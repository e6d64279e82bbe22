"""The digests of container images and GitHub actions: what is fetched is what was looked at, whoever moves a tag.

Images stand as `name:tag@sha256:…`, in compose files as `name:tag${IMAGE_DIGEST-@sha256:…}`, so that an empty
IMAGE_DIGEST leaves the tag where a registry cannot be asked; actions as `uses: name@commit # tag`. `check` names those
by tag alone and asks nobody; `write` (`make pin-images`) asks the registries with docker, crane or skopeo, and GitHub
with git, where the tags point now. Review what it changes: it is an upgrade. Standard library only.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WITHIN = 60.0  # seconds for one question
IMAGE = re.compile(
    r"(?P<before>image: |PYTHON_IMAGE: |^ARG \w+_IMAGE=|^FROM )(?P<name>[\w.-]+(?:/[\w.-]+)*):(?P<tag>[\w.-]+)"
    r"(?P<pin>@sha256:[0-9a-f]{64}|\$\{IMAGE_DIGEST-@sha256:[0-9a-f]{64}\})?(?=\s|$)",
    re.MULTILINE,
)
ACTION = re.compile(r"(?P<before>uses: )(?P<name>[\w.-]+/[\w./-]+)@(?P<pin>\S+)(?: # (?P<tag>v\S+))?")
COMMIT = re.compile(r"[0-9a-f]{40}")
ASK: dict[str, tuple[str, ...]] = {
    "crane": ("crane", "digest"),
    "skopeo": ("skopeo", "inspect", "--format", "{{.Digest}}"),
    "docker": ("docker", "buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}"),
}


class Unknown(Exception):
    """Nobody could say where a tag points."""


@dataclass(frozen=True)
class Reference:
    """A thing that is fetched: by digest (or commit), or by its tag alone when `pin` is ""."""

    kind: str  # image, action
    name: str
    tag: str
    pin: str

    def __str__(self) -> str:
        return f"{self.name}:{self.tag}" if self.kind == "image" else f"{self.name}@{self.tag}"


Resolve = Callable[[Reference], str]


def files(root: Path = ROOT) -> list[Path]:
    """Everything that names an image or an action."""
    patterns = ("Dockerfile", "docker-compose*.yml", "deploy/kubernetes/*.yaml", ".github/*/**/*.yml")
    return sorted(path for pattern in patterns for path in root.glob(pattern))


def references(text: str) -> Iterator[Reference]:
    """What a file fetches."""
    for found in IMAGE.finditer(text):
        yield _image(found)
    for found in ACTION.finditer(text):
        yield _action(found)


def rewritten(text: str, resolve: Resolve) -> str:
    """A file with the digests that its tags have now. Raises Unknown."""

    def image(found: re.Match[str]) -> str:
        digest = resolve(_image(found))
        compose = (found["pin"] or "").startswith("$")
        pin = f"${{IMAGE_DIGEST-@{digest}}}" if compose else f"@{digest}"
        return f"{found['before']}{found['name']}:{found['tag']}{pin}"

    def action(found: re.Match[str]) -> str:
        one = _action(found)
        return f"{found['before']}{one.name}@{resolve(one)} # {one.tag}"

    return ACTION.sub(action, IMAGE.sub(image, text))


def _image(found: re.Match[str]) -> Reference:
    digest = re.search(r"sha256:[0-9a-f]{64}", found["pin"] or "")
    return Reference("image", found["name"], found["tag"], digest[0] if digest else "")


def _action(found: re.Match[str]) -> Reference:
    if COMMIT.fullmatch(found["pin"]):
        return Reference("action", found["name"], found["tag"] or "", found["pin"])
    return Reference("action", found["name"], found["pin"], "")


def ask(reference: Reference) -> str:
    """Where a tag points now. Raises Unknown."""
    return _ask_github(reference) if reference.kind == "action" else _ask_registry(reference)


def _ask_registry(reference: Reference) -> str:
    tool = next((name for name in ASK if shutil.which(name)), None)
    if tool is None:
        raise Unknown(f"no {', '.join(ASK)} on the PATH to ask for {reference}")
    address = f"docker://{reference}" if tool == "skopeo" else str(reference)
    answer = _run(*ASK[tool], address)
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", answer):
        raise Unknown(f"{tool} gave no digest of {reference}: {answer!r}")
    return answer


def _ask_github(reference: Reference) -> str:
    owner, name = reference.name.split("/")[:2]
    tag = f"refs/tags/{reference.tag}"
    lines = _run("git", "ls-remote", f"https://github.com/{owner}/{name}", tag, f"{tag}^{{}}").splitlines()
    if not lines:
        raise Unknown(f"{reference.name} has no tag {reference.tag!r}")
    return lines[-1].split()[0]  # of an annotated tag the last line is the commit


def _run(*words: str) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=WITHIN, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise Unknown(f"`{' '.join(words)}`: {getattr(error, 'stderr', None) or error}") from error
    return done.stdout.strip()


def check() -> int:
    """Print what is fetched, and how; the exit code."""
    found = sorted({(str(one), one.pin) for path in files() for one in references(path.read_text())})
    for name, pin in found:
        sys.stdout.write(f"{name:32} {pin or 'by its tag alone'}\n")
    return int(any(not pin for _, pin in found))


def write() -> None:
    """Rewrite the files; all of them, or none when a tag is unknown. Raises Unknown."""
    known: dict[tuple[str, str, str], str] = {}

    def resolve(reference: Reference) -> str:
        key = (reference.kind, reference.name, reference.tag)
        known[key] = known.get(key) or ask(reference)
        return known[key]

    new = {path: rewritten(path.read_text(), resolve) for path in files()}
    for path, text in new.items():
        path.write_text(text)


if __name__ == "__main__":
    if sys.argv[1:] == ["check"]:
        sys.exit(check())
    try:
        write()
    except Unknown as error:
        sys.exit(f"{error}\nNothing was changed.")
    sys.exit(check())
