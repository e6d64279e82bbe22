"""A real browser offers compression by itself: large publications arrive as they were sent, both ways compressed."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import PATIENCE, Cluster, served

TALK = """() => new Promise((resolve, reject) => {
    const agreed = [];
    class Watched extends WebSocket {
        constructor(...words) {
            super(...words);
            this.addEventListener("open", () => agreed.push(this.extensions));
        }
    }
    const table = Array.from({ length: 300 }, (_, n) => ({ id: n, name: `row ${n}`, state: "open" }));
    const client = new Centrifuge(`ws://${location.host}/connection/websocket`, { websocket: Watched });
    const sub = client.newSubscription("demo:squeezed");
    sub.on("subscribed", () => sub.publish({ text: "table", table }).catch(({ message }) => reject(message)));
    sub.on("unsubscribed", ({ reason }) => reject(reason));
    sub.on("publication", ({ data }) => resolve([agreed, JSON.stringify(data.table) === JSON.stringify(table)]));
    sub.subscribe();
    client.connect();
})"""


@pytest.fixture(scope="module")
def squeezing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster that compresses."""
    home = tmp_path_factory.mktemp("squeezing")
    config = home / "compressing.json"
    config.write_text(json.dumps({"compression": True, "compression_min_bytes": 64}))
    with served(home, REALTIME_CONFIG=str(config)) as running:
        yield running


def test_a_browser_is_sent_and_sends_compressed_messages(squeezing: Cluster, browser: Browser) -> None:
    context = browser.new_context()
    context.set_default_timeout(PATIENCE)
    try:
        page = context.new_page()
        page.goto(squeezing.url)
        page.wait_for_selector("#state[data-state=connected]")
        agreed, arrived = page.evaluate(TALK)
    finally:
        context.close()
    assert arrived
    assert agreed == ["permessage-deflate; server_no_context_takeover; client_no_context_takeover"]
