"""What docs/CLIENTS.md shows works as it stands there, and its tables hold every code there is."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flotilla.realtime.protocol.codes import DisconnectCode, ErrorCode, UnsubscribeCode
from tests.cluster.support import driven
from tests.cluster.support.documents import snippet, snippets
from tests.cluster.support.harness import Cluster, manage, running
from tests.cluster.support.processes import ROOT

SHOWN_URL = "ws://127.0.0.1:8000/connection/websocket"
LOG_IN = """
from importlib import import_module
from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.models import User
from django.http import HttpRequest
request = HttpRequest()
request.session = import_module(settings.SESSION_ENGINE).SessionStore()
login(request, User.objects.create_user("ann", pk=7), "django.contrib.auth.backends.ModelBackend")
request.session.save()
print(request.session.session_key)
"""
AS_A_BROWSER = """
import { WebSocket as Plain } from "ws";
const cookie = { Cookie: "sessionid=SESSION" };
globalThis.WebSocket = class extends Plain {
  constructor(url, protocols) { super(url, protocols, { headers: cookie }); }
};
const fetchPlain = fetch;
globalThis.fetch = (path) => fetchPlain(`HTTP${path}`, { headers: cookie, redirect: "manual" });
"""
THEN = """
await plan.ready();
const behind = new Promise((resolve) => bulletin.on("publication", ({ offset }) => offset === 2 && resolve()));
await bulletin.publish(new TextEncoder().encode("2"));
await behind;
while (!shown.size) await new Promise((go) => setTimeout(go, 10));
const leaves = new Promise((resolve) => people.on("update", ({ removed }) => removed && resolve()));
lobby.unsubscribe();
await leaves;
while (prices.deltaStats().numDeltaPayloads < 2) await new Promise((go) => setTimeout(go, 10));
news.unsubscribe();
client.disconnect();
page.disconnect();
binary.disconnect();
everywhere.disconnect();
"""


@pytest.fixture
def documented(tmp_path: Path) -> Iterator[tuple[Cluster, str]]:
    """An instance where nothing was said yet, with the document's settings, views and RPC method; and the session of
    user 7, who is ann."""
    settings: dict[str, Any] = {}
    exec(snippet("CLIENTS.md", "python", "FLOTILLA = {"), settings)
    module = "tests.cluster.support.clusterapp.document_settings"
    with running(Cluster(tmp_path, settings["FLOTILLA"], "flotilla", DJANGO_SETTINGS_MODULE=module)) as cluster:
        yield cluster, manage(cluster.env, "shell", "--verbosity", "0", "-c", LOG_IN).strip()


def ran(command: list[str], code: str) -> str:
    done = subprocess.run(command, input=code, cwd=driven.NODE_PROJECT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and not done.stderr, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_javascript_does_what_the_document_says(documented: tuple[Cluster, str]) -> None:
    if driven.node is None:
        pytest.skip("no node on the PATH, or no `npm ci` in tests/cluster")
    cluster, session = documented
    prelude = AS_A_BROWSER.replace("SESSION", session).replace("HTTP", cluster[0].http)
    code = "\n".join([prelude, *snippets("CLIENTS.md", "js"), THEN])
    assert SHOWN_URL in code
    said = ran([driven.node, "--input-type=module", "-"], code.replace(SHOWN_URL, cluster[0].url))
    for line in (
        r"connected by cookie as [0-9a-f-]{36}",
        r"connecting 0 connect called",
        r"connected by token as [0-9a-f-]{36}",
        r"begin anew: load what is there",
        r"joined 7 \{ name: 'ann' \}",
        r"got \{ headline: 'It works' \} 1 7",
        r"present 1 1 1 0 0 true",
        r"told of some trades",
        r"price 1.25 deltas 0",
        r"price 1.75 deltas 2",
        r"cursors: 1 3 7",
        r"there: \[\]",
        r"7 came",
        r"7 left",
        r"in the plan",
        r"rpc 42",
        r"refused 103 permission denied false",
        r"no longer in it 0 unsubscribe called",
        r'in Protobuf \{"data":"is bytes"\}',
        r"connected over websocket",
        r"gone for good 0 disconnect called",
    ):
        assert re.search(f"^{line}$", said, re.MULTILINE), f"{line} is not in:\n{said}"


def test_python_does_what_the_document_says(documented: tuple[Cluster, str]) -> None:
    cluster, _ = documented
    made = "from flotilla import make_connection_token; print(make_connection_token(7))"
    token = manage(cluster.env, "shell", "--verbosity", "0", "-c", made).strip()
    code = snippet("CLIENTS.md", "python", "asyncio.run").replace("return TOKEN", f"return {token!r}")
    said = ran([sys.executable, "-"], code.replace(SHOWN_URL, cluster[0].url))
    assert re.search(r"^got \{'headline': 'from Python'\} \d+$", said, re.MULTILINE), said
    assert "present ['7']" in said
    assert re.search(r"^refused .*104", said, re.MULTILINE), said


def test_the_servers_functions_do_what_the_document_says(documented: tuple[Cluster, str]) -> None:
    cluster, _ = documented
    code = snippet("CLIENTS.md", "python", "map_set(").replace('map_get("', 'found = map_get("')
    said = manage(cluster.env, "shell", "--verbosity", "0", "-c", f"{code}\nprint(found, map_get('cursors:plan').keys)")
    assert "[{'offset': 2, 'key': 'lock', 'data': 'ann'}] 1" in said


def test_versions_are_those_that_are_tested() -> None:
    text = (ROOT / "docs" / "CLIENTS.md").read_text()
    wanted = (ROOT / "requirements-dev.txt").read_text()
    for name in ("centrifuge-python", "cent"):
        (version,) = re.findall(rf"^{name}==(\S+)", wanted, re.MULTILINE)
        assert re.search(rf"`{name}`.*\| {re.escape(version)} \|", text), f"{name} is tested with {version}"
    (version,) = re.findall(r'"centrifuge": "(\S+)"', (driven.NODE_PROJECT / "package.json").read_text())
    assert f"npm `centrifuge` | {version} |" in text


def test_every_code_is_explained() -> None:
    text = (ROOT / "docs" / "CLIENTS.md").read_text()
    for code in (*ErrorCode, *UnsubscribeCode, *DisconnectCode):
        assert re.search(rf"\b{int(code)}\b", text), f"{code!r} is not in docs/CLIENTS.md"
