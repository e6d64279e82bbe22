"""A live page of the admin whose user is logged out, loses the right to look, or is cut off: it says so once, with a
link, and nothing strange comes into its rows.
"""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.axe import violations
from tests.browser.conftest import Cluster
from tests.browser.people import CLUSTER_PAGE, PASSWORD, log_in_as, make_user, refreshed, watched_tab

pytestmark = pytest.mark.timeout(300)

INSTANCES = "/admin/flotilla_realtime/instance/"
COUNT = """() => {
    window.told = 0;
    const count = (changes) => { told += changes.length; };
    new MutationObserver(count).observe(document.getElementById("not-live"), { childList: true });
}"""
ASKED_TWICE = "() => performance.getEntriesByType('resource').filter((one) => one.name.includes('rows=1')).length >= %d"


@pytest.fixture
def staff(cluster: Cluster, browser: Browser) -> Iterator[Page]:
    """Somebody who may look at instances, at their list."""
    cluster.wait_for_both()
    make_user(cluster, "sam", "view_instance")
    with watched_tab(browser) as page:
        log_in_as(page, cluster, "sam")
        page.goto(f"{cluster.url}{INSTANCES}?q=")
        refreshed(page, 1)
        expect(page.locator("#not-live")).to_be_empty()
        yield page


def asked_again(page: Page, times: int = 2) -> None:
    """Wait until the page has asked for its rows so many times more."""
    before = page.evaluate("performance.getEntriesByType('resource').filter((e) => e.name.includes('rows=1')).length")
    page.wait_for_function(ASKED_TWICE % (before + times))


def test_who_was_logged_out_is_told_once_and_led_back(cluster: Cluster, staff: Page) -> None:
    staff.evaluate(COUNT)
    staff.context.clear_cookies(name="sessionid")
    said = staff.locator("#not-live[role=status]")
    expect(said).to_have_text("You were logged out. Log in again")
    asked_again(staff)
    assert staff.evaluate("told") == 1, "it is not read out again and again"
    expect(staff.locator("#rows tr[data-key]")).to_have_count(2)
    expect(staff.locator("#id_password")).to_have_count(0)
    for scheme in ("light", "dark"):
        staff.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        assert not (found := violations(staff)), "\n\n".join(found)
    said.get_by_role("link", name="Log in again").click()
    staff.fill("#id_username", "sam")
    staff.fill("#id_password", PASSWORD)
    staff.press("#id_password", "Enter")
    expect(staff).to_have_url(f"{cluster.url}{INSTANCES}?q=")
    refreshed(staff, 1)


def test_who_logs_in_elsewhere_sees_it_live_again(staff: Page) -> None:
    cookies = staff.context.cookies()
    staff.context.clear_cookies(name="sessionid")
    expect(staff.locator("#not-live")).to_contain_text("You were logged out.")
    staff.context.add_cookies([cookie for cookie in cookies if cookie["name"] == "sessionid"])  # type: ignore[misc]
    refreshed(staff, 1)
    expect(staff.locator("#not-live")).to_be_empty()
    expect(staff.locator("#rows")).not_to_have_attribute("data-stale", "")


def test_who_may_not_look_any_more_is_told(cluster: Cluster, staff: Page) -> None:
    make_user(cluster, "sam")
    expect(staff.locator("#not-live")).to_have_text("You may not see this any more. Load the page again")
    expect(staff.locator("#rows tr[data-key]")).to_have_count(2)


def test_rows_that_nobody_answers_for_say_so(staff: Page) -> None:
    staff.context.set_offline(True)
    expect(staff.locator("#not-live")).to_have_text("No instance answers: these are the last rows that came.")
    staff.context.set_offline(False)
    refreshed(staff, 1)
    expect(staff.locator("#not-live")).to_be_empty()


def test_the_live_figures_say_it_too(cluster: Cluster, staff: Page) -> None:
    figures = staff.context.new_page()
    figures.goto(f"{cluster.url}{CLUSTER_PAGE}")
    expect(figures.locator("#state")).to_have_text("live")
    staff.click("#logout-form button")
    expect(figures.locator("#state")).to_have_text("You were logged out. Log in again")
    figures.click("text=Log in again")
    expect(figures).to_have_url(re.compile(rf"/admin/login/\?next={re.escape(CLUSTER_PAGE)}"))
