"""The board in two real browsers, on a real cluster: tickets by drag and drop, offline and back, by the keyboard."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.browser.conftest import PATIENCE, Cluster
from tests.browser.people import log_in_to_rooms, manage

Visit = Callable[[str], Page]
Screenshot = Callable[[Page, str], None]
IN_THE_DATABASE = "from examples.board.models import Ticket; print(Ticket.objects.get(title={title!r}).state)"


@pytest.fixture
def visit(cluster: Cluster, browser: Browser, complaints: list[str]) -> Iterator[Visit]:
    """Opens the board in a browser of its own, in which the user has just logged in. Closed after the test."""
    cluster.wait_for_both()
    contexts = []

    def opened(user: str) -> Page:
        contexts.append(browser.new_context(viewport={"width": 820, "height": 900}))
        contexts[-1].set_default_timeout(PATIENCE)
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        log_in_to_rooms(page, cluster, user, "lobby")
        page.goto(f"{cluster.url}/board/launch/")
        expect(page.locator("#state")).to_have_text("live")
        return page

    yield opened
    for context in contexts:
        context.close()


def column(page: Page, state: str) -> Locator:
    return page.locator(f"section[data-state={state}]")


def ticket(page: Page, title: str) -> Locator:
    return page.locator("li", has_text=title)


def add(page: Page, title: str) -> None:
    page.fill("[name=title]", title)
    page.press("[name=title]", "Enter")
    expect(ticket(column(page, "todo").page, title)).to_be_visible()
    expect(page.locator("[name=title]")).to_have_value("")


def drag(page: Page, title: str, state: str) -> None:
    ticket(page, title).locator("span").drag_to(column(page, state).locator("ol"))


def expect_in(page: Page, state: str, title: str) -> None:
    expect(column(page, state).locator("li", has_text=title)).to_have_count(1)
    expect(ticket(page, title)).to_have_count(1)


def stored(cluster: Cluster, title: str) -> str:
    return manage(cluster, "shell", "--verbosity", "0", "-c", IN_THE_DATABASE.format(title=title)).split()[-1]


def test_what_one_drags_the_other_sees(
    cluster: Cluster, visit: Visit, screenshot: Screenshot, complaints: list[str]
) -> None:
    """Each from their own browser; a title is text."""
    ann, bob = visit("ann"), visit("bob")
    hostile = "<img src=x onerror=alert(1)>"
    add(ann, hostile)
    expect_in(bob, "todo", hostile)
    drag(ann, hostile, "doing")
    expect_in(bob, "doing", hostile)
    drag(bob, hostile, "done")
    expect_in(ann, "done", hostile)
    expect_in(bob, "done", hostile)
    expect(ann.locator("li.waits")).to_have_count(0)
    assert stored(cluster, hostile) == "done"
    assert bob.locator("li img").count() == 0
    screenshot(bob, "board")
    ann.reload()
    expect_in(ann, "done", hostile)
    assert complaints == []


def test_a_ticket_goes_where_it_is_dropped(visit: Visit, complaints: list[str]) -> None:
    """Between two others; and again for who loads the page later."""
    ann, bob = visit("ann"), visit("bob")
    for title in ("order one", "order two", "order three"):
        add(ann, title)
    ticket(ann, "order three").locator("span").drag_to(ticket(ann, "order two").locator("span"))
    for page in (ann, bob, visit("bob")):
        expect(page.locator("li", has_text="order").locator("span")).to_have_text(
            ["order one", "order three", "order two"]
        )
    assert complaints == []


def test_who_was_offline_comes_back_right(cluster: Cluster, visit: Visit, complaints: list[str]) -> None:
    """What was moved here meanwhile is sent, and what others did is there."""
    ann, bob = visit("ann"), visit("bob")
    for title in ("mine", "yours", "gone"):
        add(ann, title)
        expect_in(bob, "todo", title)
    bob.context.set_offline(True)
    bob.evaluate("dispatchEvent(new Event('offline'))")
    expect(bob.locator("#state")).to_contain_text("offline")
    drag(bob, "mine", "doing")
    expect_in(bob, "doing", "mine")
    expect(ticket(bob, "mine")).to_have_class("waits")
    drag(ann, "yours", "done")
    expect_in(ann, "done", "yours")
    manage(cluster, "shell", "--verbosity", "0", "-c",
           "from examples.board.models import Ticket; Ticket.objects.filter(title='gone').delete()")  # fmt: skip
    expect(ticket(ann, "gone")).to_have_count(0)
    expect_in(ann, "todo", "mine")
    expect_in(bob, "todo", "yours")
    bob.context.set_offline(False)
    bob.evaluate("dispatchEvent(new Event('online'))")
    for page in (ann, bob):
        expect_in(page, "doing", "mine")
        expect_in(page, "done", "yours")
        expect(ticket(page, "gone")).to_have_count(0)
    expect(bob.locator("li.waits")).to_have_count(0)
    assert stored(cluster, "mine") == "doing"
    assert complaints == []


def test_what_the_server_refuses_goes_back(visit: Visit, complaints: list[str]) -> None:
    ann = visit("ann")
    add(ann, "stubborn")

    def refuse(route: Route) -> None:
        route.fulfill(status=403, body="{}")

    ann.route("**/board/api/tickets/*/", refuse)
    drag(ann, "stubborn", "done")
    expect(ann.locator("#state")).to_have_text("this was refused (403)")
    expect_in(ann, "todo", "stubborn")
    assert complaints == []


def test_it_needs_no_pointer(visit: Visit, complaints: list[str]) -> None:
    """The focus goes with the ticket, also when the board is drawn again for another's change."""
    ann, bob = visit("ann"), visit("bob")
    add(ann, "by keyboard")
    ann.get_by_role("button", name="Move “by keyboard” to Doing").focus()
    ann.keyboard.press("Enter")
    expect_in(bob, "doing", "by keyboard")
    expect(ann.get_by_role("button", name="Move “by keyboard” to To do")).to_be_focused()
    add(bob, "another")
    expect_in(ann, "todo", "another")
    expect(ann.get_by_role("button", name="Move “by keyboard” to To do")).to_be_focused()
    assert complaints == []


def test_strangers_see_no_board(cluster: Cluster, browser: Browser) -> None:
    """Neither the page nor its API, nor the state of the channel."""
    page = browser.new_page()
    page.goto(f"{cluster.url}/board/launch/")
    expect(page.locator("#id_password")).to_be_visible()
    assert page.request.post(f"{cluster.url}/board/api/tickets/", data={"title": "x"}).status == 403
    assert page.request.get(f"{cluster.url}/flotilla/state/tickets:launch").status in (401, 403)
    page.close()
