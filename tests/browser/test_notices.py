"""The example in real browsers, on a real cluster: what is unread is counted right, with HTMX, without it, and after an
outage."""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import PATIENCE, Cluster

Visit = Callable[..., Page]


@pytest.fixture
def visit(cluster: Cluster, browser: Browser, complaints: list[str]) -> Iterator[Visit]:
    """Opens somebody's notices in a browser of their own, in which they have just logged in. Closed after the test."""
    cluster.wait_for_both()
    contexts = []
    password = re.search(r"as ann or bob, password (\S+)", cluster.log.read_text())
    assert password is not None

    def opened(user: str, *, scripts: bool = True) -> Page:
        contexts.append(browser.new_context(viewport={"width": 640, "height": 560}, java_script_enabled=scripts))
        contexts[-1].set_default_timeout(PATIENCE)
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{cluster.url}/notices/")
        page.fill("#id_username", user)
        page.fill("#id_password", password[1])
        page.click("text=Log in")
        expect(page.locator("h1")).to_contain_text("unread")
        return page

    yield opened
    for context in contexts:
        context.close()


def tell(page: Page, whom: str, text: str) -> None:
    """Write a notice, and see that it was taken."""
    page.select_option("[name=recipient]", label=whom)
    page.fill("[name=text]", text)
    page.click("text=Send")
    expect(page.locator("[name=text]")).to_have_value("")


def notices(page: Page) -> Locator:
    return page.locator("#notices li", has=page.locator("time"))


def read_all(page: Page) -> None:
    """Begin with nothing unread."""
    if page.locator("text=All read").count():
        page.click("text=All read")
    expect(page.locator("#unread")).to_have_text("0 unread")


def test_what_is_unread_is_counted_on_all_pages_of_its_reader(
    visit: Visit, screenshot: Callable[[Page, str], None], complaints: list[str]
) -> None:
    ann, bob = visit("ann"), visit("bob")
    read_all(bob)
    other = bob.context.new_page()
    other.goto(bob.url)
    tell(ann, "bob", "The meeting is at three <b>today</b>")
    tell(ann, "bob", "Bring the plans")
    for page in (bob, other):
        expect(page.locator("#unread")).to_have_text("2 unread")
        expect(notices(page).first).to_contain_text("Bring the plans")
        expect(notices(page).nth(1)).to_contain_text("The meeting is at three <b>today</b>")
    screenshot(bob, "unread")
    bob.get_by_label("Read: Bring the plans").click()
    for page in (bob, other):
        expect(page.locator("#unread")).to_have_text("1 unread")
        expect(page.locator("#notices li.unread")).to_have_count(1)
    other.click("text=All read")
    expect(bob.locator("#unread")).to_have_text("0 unread")
    assert complaints == []


def test_what_came_during_an_outage_is_there_after_it(visit: Visit, complaints: list[str]) -> None:
    ann, bob = visit("ann"), visit("bob")
    read_all(bob)
    tell(ann, "bob", "before")
    expect(bob.locator("#unread")).to_have_text("1 unread")
    bob.context.set_offline(True)
    for number in range(3):
        tell(ann, "bob", f"meanwhile {number}")
    expect(bob.locator("#unread")).to_have_text("1 unread")
    bob.context.set_offline(False)
    expect(bob.locator("#unread")).to_have_text("4 unread")
    expect(notices(bob).first).to_contain_text("meanwhile 2")
    assert complaints == []


def test_the_page_needs_no_javascript(visit: Visit) -> None:
    ann, bob = visit("ann", scripts=False), visit("bob", scripts=False)
    read_all(bob)
    tell(ann, "bob", "on paper, so to speak")
    bob.reload()
    expect(bob.locator("#unread")).to_have_text("1 unread")
    bob.get_by_label("Read: on paper").click()
    expect(bob.locator("#unread")).to_have_text("0 unread")
