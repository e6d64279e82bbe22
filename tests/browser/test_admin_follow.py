"""Finding and following in a real browser, over two instances: from a search to a connection, live what happens to it,
and from a channel's page out of the channel."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Cluster
from tests.browser.people import in_the_demo, log_in_as, log_in_as_admin, make_user, watched_tab

CONNECTIONS = "/admin/flotilla_realtime/connection/"
LOBBY = "/admin/flotilla_realtime/channel/demo_3Alobby/change/"
Screenshot = Callable[[Page, str], None]
Closing = Callable[[Callable[[], None]], None]


@pytest.fixture
def admin(cluster: Cluster, browser: Browser) -> Iterator[Page]:
    """The admin user's tab."""
    cluster.wait_for_both()
    with watched_tab(browser, viewport={"width": 1360, "height": 900}) as page:
        log_in_as_admin(page, cluster)
        yield page


def test_a_connection_is_found_and_followed_live(
    cluster: Cluster, browser: Browser, admin: Page, closing: Closing, screenshot: Screenshot
) -> None:
    """Each of two people, who may be at either instance; payloads are masked until they are wished for; the log says
    who looked; what a stranger writes is text."""
    for name in ("fay", "gus"):
        make_user(cluster, name)
        tab = in_the_demo(browser, cluster, name, closing)
        admin.goto(f"{cluster.url}{CONNECTIONS}?user={name}&sdk=&o=-since")
        expect(admin.locator("th[aria-sort=descending]")).to_contain_text("Since")
        expect(admin.locator(".paginator")).to_contain_text("over all 1 on")
        admin.locator("#rows tbody tr").first.locator("td[title] a").click()
        expect(admin.locator("#content h1")).to_contain_text(name)
        expect(admin.locator("table.facts")).to_contain_text("HeadlessChrome")
        expect(admin.locator("table.facts")).to_contain_text(cluster.url)
        expect(admin.locator("#result_list")).to_contain_text("demo:lobby")

        live = admin.locator("#tail tbody")
        admin.click("#tail button[name=follow]")
        expect(admin.locator("#tail-state")).to_contain_text("Live, from 2 of 2 instances.")
        say(tab, "hello <b>there</b>")
        expect(live.locator("tr[data-kind=command]").first).to_contain_text("publish")
        expect(live.locator("tr[data-kind=publication]").first).to_contain_text("bytes, masked")
        expect(live).not_to_contain_text("hello")
        admin.click("#tail button[name=stop]")
        expect(admin.locator("#tail-state")).to_contain_text("Stopped.")

        admin.check("#tail input[name=payloads]")
        admin.click("#tail button[name=follow]")
        expect(admin.locator("#tail-state")).to_contain_text("Live, from 2 of 2 instances.")
        say(tab, "now <i>seen</i>")
        expect(live.locator("tr[data-kind=publication]").first).to_contain_text("now <i>seen</i>")
        expect(live).not_to_contain_text("hello")
        screenshot(admin, f"following-{name}")
        tab.close()
        expect(live.locator("tr[data-kind=disconnected]")).to_be_visible()
        expect(admin.locator("#rows")).to_contain_text("No instance has this connection")
    admin.goto(f"{cluster.url}/admin/")
    expect(admin.locator("#recent-actions-module")).to_contain_text("live, with payloads")
    expect(admin.locator("#recent-actions-module")).to_contain_text("live, payloads masked")


def test_somebody_is_taken_out_of_a_channel_that_is_followed(
    cluster: Cluster, browser: Browser, admin: Page, closing: Closing, screenshot: Screenshot
) -> None:
    """From the channel's page, where that is seen as it happens; from there a link leads to the user."""
    id = make_user(cluster, "hal")
    tab = in_the_demo(browser, cluster, "hal", closing)
    admin.goto(f"{cluster.url}{LOBBY}")
    row = admin.locator("#rows tr[data-key]").filter(has_text="hal").filter(has=admin.locator("input"))
    expect(row).to_be_visible()
    admin.click("#tail button[name=follow]")
    expect(admin.locator("#tail-state")).to_contain_text("Live, from 2 of 2 instances.")
    say(tab, "anybody here?")
    live = admin.locator("#tail tbody")
    expect(live.locator("tr[data-kind=publication]")).to_have_count(1)
    row.locator("input[name=selected]").check()
    screenshot(admin, "channel")
    admin.select_option("select[name=action]", "kick")
    admin.click("#changelist-form .actions button[type=submit]")
    expect(admin.locator("#content")).to_contain_text("Are you sure?")
    admin.click("input[type=submit]")
    expect(admin.locator(".messagelist")).to_contain_text("1 subscription ended.")
    expect(admin.locator("#rows tr[data-key]").filter(has_text="hal").locator("input")).to_have_count(0)
    admin.goto(f"{cluster.url}/admin/flotilla_realtime/connecteduser/{id}/change/")
    expect(admin.locator("#content h1")).to_contain_text("hal")
    expect(admin.locator("#result_list tbody tr")).to_have_count(1)
    screenshot(admin, "user")
    admin.locator("#result_list tbody a").first.click()
    admin.locator("table.facts a[href*='/instance/']").click()
    expect(admin.locator("table.busiest")).to_be_visible()
    screenshot(admin, "instance")


def test_following_needs_its_right(cluster: Cluster, browser: Browser, closing: Closing) -> None:
    """Who may see the page is not offered it, and a forged request is refused."""
    make_user(cluster, "ivy", "view_channel")
    context = browser.new_context(viewport={"width": 1360, "height": 800})
    closing(context.close)
    ivy = context.new_page()
    log_in_as(ivy, cluster, "ivy")
    ivy.goto(f"{cluster.url}{LOBBY}")
    expect(ivy.locator("#rows table").first).to_be_visible()
    expect(ivy.locator("#tail, input[name=selected]")).to_have_count(0)
    token = next(cookie["value"] for cookie in context.cookies() if cookie["name"] == "csrftoken")  # type: ignore[typeddict-item]
    address = f"{cluster.url}{LOBBY.replace('change', 'tail')}"
    forged = ivy.request.post(address, form={"csrfmiddlewaretoken": token}, headers={"Referer": address})
    assert forged.status == 403


def say(tab: Page, text: str) -> None:
    tab.fill("#say", text)
    tab.press("#say", "Enter")
