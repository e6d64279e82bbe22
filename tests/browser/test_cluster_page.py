"""The admin's page “Cluster” in a real browser, on a real cluster: every instance's figures come and move."""

import contextlib
import json
import os
import urllib.request
from collections.abc import Callable

from playwright.sync_api import Browser, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from tests.browser.conftest import Cluster
from tests.browser.people import CLUSTER_PAGE as URL
from tests.browser.people import log_in_as_admin


def publish(cluster: Cluster, count: int) -> None:
    """Over the HTTP API."""
    key = os.environ["REALTIME_API_KEYS"]  # the cluster has the environment of the tests
    commands = [{"publish": {"channel": "demo:lobby", "data": {"text": str(number)}}} for number in range(count)]
    headers = {"X-API-Key": key, "Content-Type": "application/json"}
    body = json.dumps({"commands": commands}).encode()
    urllib.request.urlopen(urllib.request.Request(f"{cluster.url}/api/batch", body, headers), timeout=10).close()


def test_staff_watch_every_instance_live(
    cluster: Cluster, browser: Browser, open_tab: Callable[[], Page], screenshot: Callable[[Page, str], None]
) -> None:
    """A row and lines for each instance; a message that is delivered shows in the figures."""
    open_tab()
    complaints: list[str] = []
    context = browser.new_context(viewport={"width": 1360, "height": 1000})
    page = context.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    log_in_as_admin(page, cluster)
    expect(page.locator("#state")).to_have_text("live")
    rows = page.locator("#instances tbody tr")
    expect(rows).to_have_count(2, timeout=15_000)
    expect(page.locator("#cluster canvas")).to_have_count(4, timeout=15_000)
    connections = (
        "() => [...document.querySelectorAll('#instances tbody td:nth-child(2)')].map(c => Number(c.textContent))"
    )
    page.wait_for_function(f"() => ({connections})().reduce((sum, n) => sum + n, 0) >= 2", timeout=15_000)
    busy = (
        "() => [...document.querySelectorAll('#instances tbody td:nth-child(5)')].some(c => Number(c.textContent) > 5)"
    )
    shown = False
    for _ in range(10):
        publish(cluster, 50)
        with contextlib.suppress(PlaywrightTimeout):
            page.wait_for_function(busy, timeout=3_000)
            shown = True
            break
    assert shown, "fifty messages to two tabs never showed"
    screenshot(page, "cluster")
    assert not complaints
    context.close()


def test_others_see_nothing(cluster: Cluster, browser: Browser) -> None:
    """The page asks them to log in."""
    page = browser.new_page()
    page.goto(f"{cluster.url}{URL}")
    expect(page.locator("#id_password")).to_be_visible()
    page.close()
