"""The outbox in the admin, in a browser: a row that was set aside is tried again, and reaches who is in its channel."""

from collections.abc import Callable

from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Cluster
from tests.browser.people import log_in_as_admin, make_row_set_aside, watched_tab

OUTBOX = "/admin/flotilla_realtime/outboxrow/"


def test_what_was_set_aside_is_tried_again_and_arrives(
    cluster: Cluster, browser: Browser, open_tab: Callable[[], Page], screenshot: Callable[[Page, str], None]
) -> None:
    """The page's rows follow by themselves."""
    tab = open_tab()
    row = make_row_set_aside(cluster, "demo:lobby", "better late than never")
    with watched_tab(browser, viewport={"width": 1360, "height": 800}) as admin:
        log_in_as_admin(admin, cluster)
        admin.goto(f"{cluster.url}{OUTBOX}?q=demo:lobby")
        listed = admin.locator("#rows tbody tr")
        mine = admin.locator(f"#rows tr[data-key='{row}']")
        expect(mine).to_contain_text("the namespace was not configured")
        screenshot(admin, "set-aside")
        mine.locator("input[name=selected]").check()
        admin.select_option("select[name=action]", "retry")
        admin.click(".actions button[type=submit]")
        expect(admin.locator(".messagelist")).to_have_text("1 publication will be tried again.")
        expect(listed.first).to_contain_text("sent")
        expect(mine).to_have_count(0)
        admin.select_option("#changelist-search select[name=state]", "set aside")
        admin.click("#changelist-search input[type=submit]")
        expect(admin.locator("#rows table")).to_be_visible()
        expect(mine).to_have_count(0)
    expect(tab.locator("#messages")).to_contain_text("better late than never")


def test_dropping_asks_and_tells_what_is_lost(cluster: Cluster, browser: Browser) -> None:
    """On the row's own page, which shows its publication to who may see it."""
    row = make_row_set_aside(cluster, "demo:random", "never mind")
    with watched_tab(browser, viewport={"width": 1360, "height": 800}) as admin:
        log_in_as_admin(admin, cluster)
        admin.goto(f"{cluster.url}{OUTBOX}?state=set+aside&q=demo:random")
        admin.click(f"#rows tr[data-key='{row}'] th a")
        expect(admin.locator("table.facts")).to_contain_text("never mind")
        admin.select_option("select[name=action]", "drop")
        admin.click(".actions button[type=submit]")
        expect(admin.locator("#content-main")).to_contain_text("never sent")
        expect(admin.locator("#content-main")).to_contain_text(f"demo:random: publish, 32 bytes, row {row}")
        admin.click("input[type=submit]")
        expect(admin.locator(".messagelist")).to_have_text("1 publication dropped.")
        expect(admin.locator("#rows")).to_contain_text("There is no such row")
