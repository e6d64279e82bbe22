"""Every page of the cluster in the admin as people see it: light, dark and narrow, with nothing cut off."""

from collections.abc import Callable

from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Cluster
from tests.browser.people import log_in_as_admin, make_row_set_aside

PAGES = ("instance", "channel", "channel/demo_3Alobby/change", "connecteduser", "connection", "block", "outboxrow")
LOOKS = {"light": (1360, 800), "dark": (1360, 800), "narrow": (420, 800), "narrow-dark": (420, 800)}


def test_every_page_fits_its_window(
    cluster: Cluster, browser: Browser, open_tab: Callable[[], Page], screenshot: Callable[[Page, str], None]
) -> None:
    """A table that is too wide scrolls within itself, and colours follow the theme of the admin."""
    tabs = [open_tab(), open_tab()]
    for tab in tabs:
        tab.fill("#say", "hello")
        tab.press("#say", "Enter")
    complaints: list[str] = []
    context = browser.new_context(viewport={"width": 1360, "height": 800})
    admin = context.new_page()
    admin.on("pageerror", lambda error: complaints.append(str(error)))
    log_in_as_admin(admin, cluster)
    admin.goto(f"{cluster.url}/admin/flotilla_realtime/block/")
    admin.select_option("select[name=action]", "block")
    admin.select_option("select[name=kind]", "address")
    for name, value in (("whom", "203.0.113.7"), ("note", "scans for passwords")):
        admin.fill(f"input[name={name}]", value)
    admin.click(".actions button[type=submit]")
    admin.click("input[type=submit]")  # yes, it is meant
    row = make_row_set_aside(cluster, "demo:lobby", "hello " * 400)
    for page in (*PAGES, f"outboxrow/{row.replace(':', '_3A')}/change"):
        admin.goto(f"{cluster.url}/admin/flotilla_realtime/{page}/")
        expect(admin.locator("#rows tbody tr").first).to_be_visible()
        colours = {look: look_at(admin, look, page.replace("/", "-"), screenshot) for look in LOOKS}
        assert colours["light"] != colours["dark"], page
    assert not complaints
    context.close()


def look_at(admin: Page, look: str, page: str, screenshot: Callable[[Page, str], None]) -> str:
    """See that nothing is wider than the window; returns the colour of the text."""
    width, height = LOOKS[look]
    admin.set_viewport_size({"width": width, "height": height})
    admin.emulate_media(color_scheme="dark" if "dark" in look else "light")
    choices = admin.locator("select[name=action] option")
    choice = choices.last if "narrow" in look else choices.nth(1)
    admin.select_option("select[name=action]", choice.get_attribute("value") or "")
    screenshot(admin, f"{page}-{look}")
    wide = admin.evaluate("document.documentElement.scrollWidth")
    assert wide <= width, f"{page}, {look}: {wide} px in a window of {width}"
    return str(admin.locator("#rows tbody tr").last.evaluate("(row) => getComputedStyle(row).color"))


def test_inputs_follow_the_action(cluster: Cluster, browser: Browser, open_tab: Callable[[], Page]) -> None:
    """Only what the chosen action wants is shown and sent; seconds only where no time of the list is chosen."""
    open_tab()
    context = browser.new_context(viewport={"width": 1360, "height": 800})
    admin = context.new_page()
    log_in_as_admin(admin, cluster)
    admin.goto(f"{cluster.url}/admin/flotilla_realtime/connection/")
    shown = ".actions [data-field]:visible"
    expect(admin.locator(shown)).to_have_count(0)
    for action, fields in (("disconnect", []), ("unsubscribe", ["channel"]), ("block_user", ["seconds", "note"])):
        admin.select_option("select[name=action]", action)
        expect(admin.locator(shown)).to_have_count(len(fields))
        assert [one.get_attribute("data-field") for one in admin.locator(shown).all()] == fields
    expect(admin.locator("input[name=seconds]")).to_be_hidden()
    admin.select_option("select[name=duration]", "")
    expect(admin.locator("input[name=seconds]")).to_be_visible()
    admin.check("#select-all")
    boxes = admin.locator("input[name=selected]")
    assert boxes.count() > 0
    assert all(box.is_checked() for box in boxes.all())
    context.close()
