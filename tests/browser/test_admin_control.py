"""The hold of the admin over live people in a real browser: one is kicked and stays away, another is blocked."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Cluster
from tests.browser.people import in_the_demo, log_in_as, log_in_as_admin, make_user, refreshed, watched_tab

USERS = "/admin/flotilla_realtime/connecteduser/"
ASKING = {"disconnect", "block", "drain"}
Screenshot = Callable[[Page, str], None]


@pytest.fixture
def admin(cluster: Cluster, browser: Browser) -> Iterator[Page]:
    """The admin user's tab."""
    cluster.wait_for_both()
    with watched_tab(browser, viewport={"width": 1360, "height": 800}) as page:
        log_in_as_admin(page, cluster)
        yield page


def act(page: Page, action: str, **fields: str) -> None:
    """Choose an action, fill in what it wants, go, and say that it is meant where that is asked."""
    page.select_option("select[name=action]", action)
    for name, value in fields.items():
        field = page.locator(f".actions [name={name}]")
        if name == "duration":
            field.select_option(value)
        else:
            field.fill(value)
    page.click(".actions button[type=submit]")
    if action in ASKING:
        expect(page.locator("#content")).to_contain_text("Are you sure?")
        page.click("input[type=submit]")


def test_one_of_two_people_is_kicked_and_stays_away(
    cluster: Cluster,
    browser: Browser,
    admin: Page,
    closing: Callable[[Callable[[], None]], None],
    screenshot: Screenshot,
) -> None:
    """Both appear without a reload; what is selected stays so; the log says who did it; neither of them may do it."""
    # not ann and bob: the demo has those
    dora_id, dirk_id = make_user(cluster, "dora"), make_user(cluster, "dirk")
    admin.goto(f"{cluster.url}{USERS}")
    expect(admin.locator("#rows table")).to_be_visible()
    dora, dirk = (in_the_demo(browser, cluster, name, closing) for name in ("dora", "dirk"))
    dora_row, dirk_row = (admin.locator(f"#rows tr[data-key='{id}']") for id in (dora_id, dirk_id))
    expect(dora_row).to_contain_text("dora")
    expect(dirk_row).to_contain_text("dirk")
    dora_row.locator("input[name=selected]").check()
    refreshed(admin)
    expect(dora_row.locator("input[name=selected]")).to_be_checked()
    screenshot(admin, "two-people")

    act(admin, "message", data='{"text": "closing soon"}')
    expect(admin.locator(".messagelist")).to_contain_text("Sent to 1 connection.")
    expect(dora.locator("#log")).to_contain_text("closing soon")
    dora_row.locator("input[name=selected]").check()
    act(admin, "disconnect")
    expect(admin.locator(".messagelist")).to_contain_text("1 connection ended.")
    expect(dora.locator("#state")).to_have_attribute("data-state", "disconnected")
    expect(dora.locator("#banner")).to_contain_text("force disconnect (3503)")
    screenshot(dora, "kicked")
    refreshed(admin, 3)
    expect(dora_row).to_have_count(0)
    expect(dirk_row).to_have_count(1)
    expect(dora.locator("#state")).to_have_attribute("data-state", "disconnected")
    expect(dirk.locator("#state")).to_have_attribute("data-state", "connected")

    admin.goto(f"{cluster.url}/admin/")
    expect(admin.locator("#recent-actions-module")).to_contain_text("disconnected dora (1 connection)")
    admin.goto(f"{cluster.url}{USERS}")
    dirk_row.locator("input[name=selected]").check()
    act(admin, "block", duration="3600", note="spam")
    expect(admin.locator(".messagelist")).to_contain_text("1 blocked, 1 connection ended.")
    expect(dirk.locator("#banner")).to_contain_text("blocked until")
    dirk.reload()
    expect(dirk.locator("#banner")).to_contain_text("blocked until")
    admin.goto(f"{cluster.url}/admin/flotilla_realtime/block/")
    admin.locator(f"tr[data-key='u:{dirk_id}'] input[name=selected]").check()
    act(admin, "unblock")
    expect(admin.locator(".messagelist")).to_contain_text("1 unblocked.")
    dirk.reload()
    expect(dirk.locator("#state")).to_have_attribute("data-state", "connected")


def test_who_may_not_cannot(
    cluster: Cluster, browser: Browser, closing: Callable[[Callable[[], None]], None], screenshot: Screenshot
) -> None:
    """Staff without the permission see no page; with that to look, no buttons, and a forged request is refused."""
    make_user(cluster, "eve")
    id = make_user(cluster, "carol")
    carol = in_the_demo(browser, cluster, "carol", closing)
    context = browser.new_context(viewport={"width": 1360, "height": 800})
    closing(context.close)
    eve = context.new_page()
    log_in_as(eve, cluster, "eve")
    expect(eve.locator("#content")).not_to_contain_text("Instances")
    for page in ("instance", "channel", "connecteduser", "connection", "block", "outboxrow"):
        response = eve.goto(f"{cluster.url}/admin/flotilla_realtime/{page}/")
        assert response is not None
        assert response.status == 403, page
    make_user(cluster, "eve", "view_connecteduser")
    eve.goto(f"{cluster.url}{USERS}")
    expect(eve.locator(f"#rows tr[data-key='{id}']")).to_contain_text("carol")
    expect(eve.locator("select[name=action], input[name=selected], .actions button")).to_have_count(0)
    screenshot(eve, "may-only-look")
    token = eve.locator("#changelist-form input[name=csrfmiddlewaretoken]").get_attribute("value") or ""
    form = {"csrfmiddlewaretoken": token, "action": "disconnect", "selected": id}
    forged = eve.request.post(f"{cluster.url}{USERS}", form=form, headers={"Referer": f"{cluster.url}{USERS}"})
    assert forged.status == 403
    refreshed(eve)
    expect(carol.locator("#state")).to_have_attribute("data-state", "connected")


def test_others_are_asked_to_log_in(cluster: Cluster, browser: Browser) -> None:
    """They see nothing."""
    page = browser.new_page()
    page.goto(f"{cluster.url}{USERS}")
    expect(page.locator("#id_password")).to_be_visible()
    page.close()


def test_rows_that_are_not_live_any_more_say_so(cluster: Cluster, admin: Page) -> None:
    """Somebody logged out in another tab; the rows come back with the next login."""
    admin.goto(f"{cluster.url}{USERS}")
    refreshed(admin, 1)
    rows = admin.locator("#rows")
    assert rows.get_attribute("data-stale") is None
    cookies = admin.context.cookies()
    admin.context.clear_cookies(name="sessionid")
    expect(rows).to_have_attribute("data-stale", "")
    expect(rows.locator("table")).to_be_visible()
    admin.context.add_cookies([cookie for cookie in cookies if cookie["name"] == "sessionid"])  # type: ignore[misc]
    expect(rows).not_to_have_attribute("data-stale", "")


def test_an_instance_is_drained_and_replaced(
    cluster: Cluster, admin: Page, open_tab: Callable[[], Page], screenshot: Screenshot
) -> None:
    """Its clients move to the other, and another process takes its place."""
    tab = open_tab()
    admin.goto(f"{cluster.url}/admin/flotilla_realtime/instance/")
    rows = admin.locator("#rows tr[data-key]")
    expect(rows).to_have_count(2)
    name = tab.evaluate("document.documentElement.dataset.instance")
    row = rows.filter(has_text=name)
    pid = row.get_attribute("data-pid")
    row.locator("input[name=selected]").check()
    act(admin, "drain")
    expect(admin.locator(".messagelist")).to_contain_text("Draining begins at 1 of 1 instance.")
    expect(admin.locator(f"#rows tr[data-pid='{pid}']")).to_have_count(0)
    expect(tab.locator("#state")).to_have_attribute("data-state", "connected")
    expect(tab.locator("#banner")).to_contain_text("nothing was missed")
    expect(rows).to_have_count(2)
    screenshot(admin, "replaced")
