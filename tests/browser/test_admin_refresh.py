"""The admin's live pages under somebody's hands, on a real cluster: three refreshes lose nothing that one did."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Cluster
from tests.browser.people import log_in_as_admin, refreshed, watched_tab

CONNECTIONS = "/admin/flotilla_realtime/connection/"
PHONE = {"width": 390, "height": 500}
DESK = {"width": 1360, "height": 500}


@pytest.fixture
def admin(cluster: Cluster, browser: Browser, open_tab: Callable[[], Page]) -> Iterator[Page]:
    """The admin user at the list of connections, of which there are six."""
    for _ in range(6):
        open_tab()
    with watched_tab(browser, viewport=DESK) as page:
        log_in_as_admin(page, cluster)
        page.goto(f"{cluster.url}{CONNECTIONS}")
        expect(page.locator("#rows tbody tr[data-key]").nth(5)).to_be_visible()
        yield page


def test_three_refreshes_lose_nothing(admin: Page, open_tab: Callable[[], Page]) -> None:
    """Selected text, a focused link, a ticked box and half-typed input stay, and the rows are those of now."""
    rows = admin.locator("#rows tbody tr[data-key]")
    ticked, linked = (rows.nth(at).get_attribute("data-key") for at in (1, 4))
    admin.check(f"[data-key='{ticked}'] input[name=selected]")
    admin.select_option("select[name=action]", "message")
    admin.fill("[name=data]", '{"text": "half a sen')
    admin.fill("input[name=q]", "Chrom")
    admin.focus(f"[data-key='{linked}'] a")
    address = rows.nth(2).locator("td").nth(2)
    admin.evaluate("(cell) => document.getSelection().selectAllChildren(cell)", address.element_handle())
    chosen = admin.evaluate("document.getSelection().toString()")
    assert chosen
    others = rows.count()
    tab = open_tab()
    refreshed(admin, 3)
    expect(rows).to_have_count(others + 1)
    tab.close()
    expect(rows).to_have_count(others)
    assert admin.evaluate("document.getSelection().toString()") == chosen
    assert admin.is_checked(f"[data-key='{ticked}'] input[name=selected]")
    assert admin.input_value("[name=data]") == '{"text": "half a sen'
    assert admin.input_value("input[name=q]") == "Chrom"
    assert admin.evaluate("document.activeElement.closest('tr').dataset.key") == linked


@pytest.mark.parametrize("window", [DESK, PHONE], ids=["desk", "phone"])
def test_the_page_stays_where_it_was_scrolled_to(admin: Page, window: dict[str, int]) -> None:
    """Down the page, and sideways within the table on a phone."""
    admin.set_viewport_size(window)  # type: ignore[arg-type]
    admin.evaluate("window.scrollTo(0, 120)")
    admin.evaluate("document.querySelector('#rows .results').scrollLeft = 150")
    place = "[Math.round(window.scrollY), document.querySelector('#rows .results').scrollLeft]"
    before = admin.evaluate(place)
    assert before[0] > 0
    assert (before[1] > 0) == (window is PHONE)
    refreshed(admin, 3)
    assert admin.evaluate(place) == before


def test_a_connection_that_ends_stays_while_its_row_is_being_read(admin: Page, open_tab: Callable[[], Page]) -> None:
    """It says that it is gone, and goes when one has let go of it."""
    rows = admin.locator("#rows tbody tr[data-key]")
    known = {row.get_attribute("data-key") for row in rows.all()}
    tab = open_tab()
    expect(rows).to_have_count(len(known) + 1)
    (key,) = {row.get_attribute("data-key") for row in rows.all()} - known
    row = admin.locator(f"[data-key='{key}']")
    admin.evaluate("(row) => document.getSelection().selectAllChildren(row)", row.element_handle())
    tab.close()
    expect(row).to_have_attribute("data-gone", "")
    admin.evaluate("document.getSelection().removeAllRanges()")
    expect(row).to_have_count(0)
