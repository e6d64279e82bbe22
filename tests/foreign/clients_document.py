"""What docs/CLIENTS.md shows in Go and in Java works as it stands there, with the document's settings."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.support.documents import snippet
from tests.cluster.support.harness import Cluster, running
from tests.cluster.support.processes import Process, wait_until
from tests.cluster.support.raw_client import token
from tests.foreign import java
from tests.foreign.go_sdk import MODULE, VERSION
from tests.foreign.suite import FETCH_WITHIN, fetch, must, tool

SHOWN_URL = "ws://127.0.0.1:8000/connection/websocket"
SAID_WITHIN = 60.0  # seconds, the compilation of one file among them

pytestmark = pytest.mark.timeout(FETCH_WITHIN + 120)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where clients of an instance with the document's settings connect."""
    tool("redis-server")
    settings: dict[str, Any] = {}
    exec(snippet("CLIENTS.md", "python", "FLOTILLA = {"), settings)
    module = "tests.cluster.support.clusterapp.document_settings"
    home = tmp_path_factory.mktemp("document")
    with running(Cluster(home, settings["FLOTILLA"], "flotilla", DJANGO_SETTINGS_MODULE=module)) as cluster:
        yield cluster[0].url


def code(language: str, holding: str, url: str) -> str:
    """A snippet for user 7 of this instance."""
    shown = snippet("CLIENTS.md", language, holding)
    assert SHOWN_URL in shown
    return re.sub(r"\bTOKEN\b", json.dumps(token("7")), shown.replace(SHOWN_URL, url))


def test_go_does_what_the_document_says(url: str, tmp_path: Path) -> None:
    go = tool("go")
    (tmp_path / "main.go").write_text(code("go", "NewSubscription", url))
    (tmp_path / "go.mod").write_text(f"module news\n\ngo 1.23\n\nrequire {MODULE} {VERSION}\n")
    fetch(go, "mod", "tidy", cwd=tmp_path)
    must(go, "vet", ".", cwd=tmp_path)
    must(go, "build", "-o", "news", ".", cwd=tmp_path)
    done = subprocess.run([tmp_path / "news"], capture_output=True, text=True, timeout=SAID_WITHIN)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert re.fullmatch(r'got \{"headline":"from Go"\} \d+\npresent 7\n', done.stdout), done.stdout


def test_java_does_what_the_document_says(url: str, tmp_path: Path) -> None:
    machine, jar = tool("java"), java.built()
    (tmp_path / "News.java").write_text(code("java", "newSubscription", url))
    running_news = Process("news", tmp_path)
    running_news.spawn([machine, *java.SMALL, "-cp", str(jar), "News.java"], folder=tmp_path)
    try:
        wait_until(lambda: "got " in running_news.log.read_text() or not running_news.running, "it got", SAID_WITHIN)
    finally:
        running_news.stop()
    said = running_news.log.read_text()
    for line in (r"connected as [0-9a-f-]{36}", r"begin anew", r'got \{"headline":"from Java"\} \d+'):
        assert re.search(f"^{line}$", said, re.MULTILINE), f"{line} is not in:\n{said}"


def test_versions_are_those_that_are_tested() -> None:
    text = (java.ROOT / "docs" / "CLIENTS.md").read_text()
    assert f"| Go: `{MODULE}` | {VERSION.removeprefix('v')} |" in text
    (version,) = re.findall(
        r"<artifactId>centrifuge-java</artifactId>\s*<version>(\S+)</version>", java.POM.read_text()
    )
    assert f":centrifuge-java` | {version} |" in text
