"""The admin's page “Cluster” in a real browser, on a real cluster: every instance's figures come and move."""

import contextlib
import json
import os
import re
import urllib.request
from collections.abc import Callable

from playwright.sync_api import Browser, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from tests.browser.conftest import Cluster
from tests.browser.people import CLUSTER_PAGE as URL
from tests.browser.people import log_in_as_admin

CONTRAST = r"""(element) => {
  const numbers = (colour) => colour.match(/[\d.]+/g).slice(0, 3).map(Number);
  const light = (part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4);
  const share = (part, at) => part * [0.2126, 0.7152, 0.0722][at];
  const luminance = (colour) => numbers(colour).map(light).map(share).reduce((sum, part) => sum + part);
  const [bright, dim] = [getComputedStyle(element).color, getComputedStyle(document.body).backgroundColor]
    .map(luminance).sort((one, other) => other - one);
  return (bright + 0.05) / (dim + 0.05);
}"""


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


def test_a_reload_shows_what_was(cluster: Cluster, browser: Browser, open_tab: Callable[[], Page]) -> None:
    """The rows and lines are there without any live figure: the server remembers the last hour."""
    open_tab()
    context = browser.new_context(viewport={"width": 1360, "height": 1000})
    page = context.new_page()
    log_in_as_admin(page, cluster)
    expect(page.locator("#instances tbody tr")).to_have_count(2)
    page.wait_for_function(
        "async () => { const found = await (await fetch('?history')).json();"
        " const at = found.names.indexOf('instance');"
        " return new Set(found.rows.map((row) => row[at])).size === 2 && found.rows.length > 4; }"
    )
    page.route_web_socket("**/connection/websocket", lambda socket: None)  # which never says anything
    page.reload()
    expect(page.locator("#cluster canvas")).to_have_count(4)
    expect(page.locator("#instances tbody tr")).to_have_count(2)
    expect(page.locator("#state")).to_have_text("connecting…")
    assert page.locator("#gap").text_content() == ""
    context.close()


def test_a_legend_tells_the_quantiles_apart_and_live_is_readable(
    cluster: Cluster, browser: Browser, open_tab: Callable[[], Page], screenshot: Callable[[Page, str], None]
) -> None:
    """In the dark, too: each kind of line is drawn in the legend as in the chart; times are those of the zone named."""
    open_tab()
    context = browser.new_context(viewport={"width": 1360, "height": 1000}, timezone_id="Asia/Tokyo")
    page = context.new_page()
    log_in_as_admin(page, cluster)
    expect(page.locator("#state")).to_have_text("live")
    expect(page.locator("#cluster canvas")).to_have_count(4)
    legend = page.locator("#deliveries .u-legend .u-series")
    kinds = [
        (
            row.text_content() or "",
            row.locator(".u-marker").evaluate("(marker) => getComputedStyle(marker).borderTopStyle"),
        )
        for row in legend.all()[1:4]
    ]
    assert [kind for _, kind in kinds] == ["solid", "dashed", "dotted"], kinds
    assert [name in text for name, (text, _) in zip(("p50", "p95", "p99"), kinds, strict=True)] == [True] * 3
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        contrast = page.locator("#state").evaluate(CONTRAST)
        assert contrast >= 4.5, (theme, contrast)
        screenshot(page, theme)
    box = page.locator("#connections .u-over").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 20)
    shown = page.locator("#connections .u-legend .u-value").first
    expect(shown).to_have_text(re.compile(r"\d\d:\d\d:\d\d"))
    utc = page.evaluate("new Date().toISOString().slice(11, 13)")
    assert abs(int((shown.text_content() or "")[:2]) - int(utc)) in (0, 1, 23), "not the project's zone, which is UTC"
    context.close()


def test_others_see_nothing(cluster: Cluster, browser: Browser) -> None:
    """The page asks them to log in."""
    page = browser.new_page()
    page.goto(f"{cluster.url}{URL}")
    expect(page.locator("#id_password")).to_be_visible()
    page.close()
