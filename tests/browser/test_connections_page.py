"""The admin's connections in a real browser: people appear live, one is ended and stays away, the log says so."""

from collections.abc import Callable

from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Cluster
from tests.browser.test_cluster_page import log_in

URL = "/admin/realtime/connection/"


def test_staff_see_people_come_and_end_a_connection(
    cluster: Cluster, browser: Browser, open_tab: Callable[[], Page], screenshot: Callable[[Page, str], None]
) -> None:
    """Two tabs appear without a reload; the one that is kicked says so, and does not come back."""
    complaints: list[str] = []
    context = browser.new_context(viewport={"width": 1360, "height": 800})
    admin = context.new_page()
    admin.on("pageerror", lambda error: complaints.append(str(error)))
    log_in(admin, cluster)
    admin.goto(f"{cluster.url}{URL}?channel=demo:lobby")
    rows = admin.locator("#rows tbody tr[data-client]")
    before = rows.count()
    tabs = [open_tab(), open_tab()]
    expect(rows).to_have_count(before + 2, timeout=15_000)
    newest = max(rows.all(), key=lambda row: row.locator("time").get_attribute("datetime") or "")
    kicked = newest.get_attribute("data-client")
    newest.locator("input[name=client]").check()
    screenshot(admin, "two-people")
    admin.wait_for_function(  # the rows have been replaced since, and the selection has stayed
        "async (id) => { const old = document.querySelector(`tr[data-client='${id}']`);"
        " while (old.isConnected) await new Promise((done) => setTimeout(done, 100));"
        " return document.querySelector(`tr[data-client='${id}'] input`).checked; }",
        arg=kicked,
        timeout=15_000,
    )
    admin.select_option("select[name=action]", "disconnect")
    admin.click("#connections button[type=submit]")
    expect(admin.locator(".messagelist")).to_contain_text("1 connections ended.")
    expect(rows).to_have_count(before + 1, timeout=15_000)
    states = [tab.locator("#state") for tab in tabs]
    gone = next(state for state in states if state.get_attribute("data-state") == "disconnected")
    screenshot(admin, "one-kicked")
    admin.emulate_media(color_scheme="dark")
    admin.set_viewport_size({"width": 480, "height": 800})
    screenshot(admin, "narrow-dark")
    admin.goto(f"{cluster.url}/admin/")
    expect(admin.locator("#recent-actions-module, .actionlist").first).to_contain_text("at 127.0.0.1")
    expect(gone).to_have_attribute("data-state", "disconnected")
    assert not complaints
    context.close()


def test_others_see_nothing(cluster: Cluster, browser: Browser) -> None:
    """The page asks them to log in."""
    page = browser.new_page()
    page.goto(f"{cluster.url}{URL}")
    expect(page.locator("#id_password")).to_be_visible()
    page.close()
