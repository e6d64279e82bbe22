"""The JavaScript of docs/AUTHENTICATION.md, with the real SDK on a real instance."""

import asyncio
import re
from pathlib import Path

import pytest

from tests.cluster.support import driven
from tests.cluster.support.documents import snippets
from tests.cluster.support.harness import Cluster, manage, running
from tests.cluster.support.raw_client import RawClient
from tests.cluster.test_clients_document import LOG_IN, SHOWN_URL, ran

MODULE = "tests.cluster.support.clusterapp.authentication_settings"
WITH_KEY = """
from rest_framework.authtoken.models import Token
from django.contrib.auth.models import User
print(Token.objects.create(user=User.objects.get(pk=7)).key)
"""
AS_A_BROWSER = """
import { WebSocket } from "ws";
globalThis.WebSocket = WebSocket;
globalThis.document = { cookie: "theme=dark; csrftoken=CSRF" };
const fetchPlain = fetch;
globalThis.fetch = (path, { headers, ...options }) =>
  fetchPlain(`HTTP${path}`, { ...options, headers: { ...headers, Cookie: "csrftoken=CSRF; sessionid=SESSION" } });
const key = "KEY";
"""
THEN = """
await Promise.all([client.ready(), plan.ready(), api.ready()]);
client.disconnect();
api.disconnect();
const other = new Centrifuge("ws://127.0.0.1:8000/connection/websocket", { getToken });
const another = other.newSubscription("$plan:8", { getToken });
another.on("unsubscribed", ({ code }) => console.log("not in another's plan", code));
another.subscribe();
other.connect();
await new Promise((resolve) => another.on("unsubscribed", resolve));
other.disconnect();
document.cookie = "";
const forged = new Centrifuge("ws://127.0.0.1:8000/connection/websocket", { getToken });
forged.on("disconnected", ({ code }) => console.log("gone for good", code));
forged.connect();
await new Promise((resolve) => forged.on("disconnected", resolve));
"""


async def by_header_of_the_handshake(url: str, key: str) -> None:
    """As clients that are no browsers bring their key."""
    async with RawClient(url, additional_headers={"Authorization": f"Token {key}"}) as client:
        await client.connect()
    async with RawClient(url, additional_headers={"Authorization": "Token wrong"}) as client:
        await client.send({"id": 1, "connect": {}})
        assert await client.closed() == (3500, "invalid token")


@pytest.mark.timeout(300)
def test_javascript_does_what_the_document_says(tmp_path: Path) -> None:
    if driven.node is None:
        pytest.skip("no node on the PATH, or no `npm ci` in tests/cluster")
    with running(Cluster(tmp_path, {}, "flotilla", DJANGO_SETTINGS_MODULE=MODULE)) as cluster:
        session, key = manage(cluster.env, "shell", "--verbosity", "0", "-c", LOG_IN + WITH_KEY).split()
        values = {"SESSION": session, "CSRF": "c" * 32, "KEY": key, "HTTP": cluster[0].http}
        prelude = AS_A_BROWSER
        for name, value in values.items():
            prelude = prelude.replace(name, value)
        code = "\n".join([prelude, *snippets("AUTHENTICATION.md", "js"), THEN])
        assert SHOWN_URL in code
        asyncio.run(by_header_of_the_handshake(cluster[0].url, key))
        said = ran([driven.node, "--input-type=module", "-"], code.replace(SHOWN_URL, cluster[0].url))
    for line in (
        "connected",
        "in the plan",
        "connected with a header",
        "not in another's plan 1",
        "gone for good 1",
    ):
        assert re.search(f"^{line}$", said, re.MULTILINE), f"{line} is not in:\n{said}"
