"""Every page by WCAG 2.2 AA, in four forms: on a phone and on a desk, light and dark.

axe-core judges what a program can. Beside it: nothing is wider than the window, each page has a language and a title of
its own, the keyboard is enough, and what comes by itself is read out without flooding anybody.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.axe import settle, violations
from tests.browser.conftest import PATIENCE, Cluster
from tests.browser.people import log_in_as_admin, log_in_to_rooms, make_row_set_aside

pytestmark = pytest.mark.timeout(300)

WIDTHS = {"phone": (390, 844), "desk": (1440, 900)}
SCHEMES = ("light", "dark")
REALTIME = "/admin/flotilla_realtime"
ROWS = "#rows tbody tr[data-key]"
FACTS = "table.facts"
FOCUS = """() => {
    const { activeElement: found } = document, style = getComputedStyle(found);
    const box = found.getBoundingClientRect();
    return {
        name: found.id || found.className || found.tagName,
        outline: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1,
        seen: box.bottom > 0 && box.top < innerHeight,
    };
}"""


@dataclass(frozen=True)
class Visit:
    """A page, who looks at it, and what is there once it is. `by`: it is reached by the first such link of `path`."""

    path: str
    who: str
    shows: str
    by: str = ""


PAGES = {
    "demo": Visit("/", "visitor", "#messages .message"),
    "rooms-login": Visit("/rooms/login/", "visitor", "#id_password"),
    "rooms": Visit("/rooms/", "ann", "main li a"),
    "room": Visit("/rooms/lobby/", "ann", "#messages li"),
    "board": Visit("/board/", "ann", "li button"),
    "notices-login": Visit("/notices/login/", "visitor", "#id_password"),
    "notices": Visit("/notices/", "ann", "#notices time"),
    "admin-login": Visit("/admin/login/", "visitor", "#id_password"),
    "admin-index": Visit("/admin/", "admin", "#content-main"),
    "admin-section": Visit(f"{REALTIME}/", "admin", "#content-main"),
    "admin-cluster": Visit("/admin/flotilla_monitoring/cluster/", "admin", "#cluster canvas"),
    "admin-instances": Visit(f"{REALTIME}/instance/", "admin", ROWS),
    "admin-instance": Visit(f"{REALTIME}/instance/", "admin", FACTS, by=f"{ROWS} th a"),
    "admin-channels": Visit(f"{REALTIME}/channel/", "admin", ROWS),
    "admin-channel": Visit(f"{REALTIME}/channel/demo_3Alobby/change/", "admin", ".newest tbody tr"),
    "admin-users": Visit(f"{REALTIME}/connecteduser/", "admin", ROWS),
    "admin-user": Visit(f"{REALTIME}/connecteduser/", "admin", "#tail", by=f"{ROWS} th a"),
    "admin-connections": Visit(f"{REALTIME}/connection/", "admin", ROWS),
    "admin-connection": Visit(f"{REALTIME}/connection/", "admin", FACTS, by=f"{ROWS} td[title] a"),
    "admin-blocks": Visit(f"{REALTIME}/block/", "admin", "#rows tbody tr"),
    "admin-outbox": Visit(f"{REALTIME}/outboxrow/", "admin", ROWS),
    "admin-outbox-row": Visit(f"{REALTIME}/outboxrow/", "admin", FACTS, by=f"{ROWS} th a"),
    "admin-limits": Visit("/admin/flotilla_ratelimit/personallimit/", "admin", "#changelist"),
    "admin-hottest": Visit("/admin/flotilla_ratelimit/personallimit/hottest/", "admin", "#content td"),
}


@pytest.fixture(scope="module")
def contexts(cluster: Cluster, browser: Browser) -> Iterator[dict[str, BrowserContext]]:
    """The browsers of three people; a tab in the demo has said something, and one in the rooms; ann
    has a notice."""
    cluster.wait_for_both()
    made = {who: browser.new_context() for who in ("visitor", "ann", "admin")}
    for context in made.values():
        context.set_default_timeout(PATIENCE)
    log_in_as_admin(made["admin"].new_page(), cluster)
    make_row_set_aside(cluster, "demo:lobby", "<hello>")
    room = made["ann"].new_page()
    log_in_to_rooms(room, cluster, "ann", "lobby")
    notices = made["admin"].new_page()
    notices.goto(f"{cluster.url}/notices/")
    notices.select_option("[name=recipient]", label="ann")
    notices.fill("[name=text]", "for ann")
    notices.click("text=Send")
    expect(notices.locator("[name=text]")).to_have_value("")
    demo = made["visitor"].new_page()
    demo.goto(cluster.url)
    for page, state, field in ((demo, "connected", "#say"), (room, "live", "[name=text]")):
        expect(page.locator("#state")).to_have_text(state)
        page.fill(field, "hello")
        page.press(field, "Enter")
        expect(page.locator("#messages")).to_contain_text("hello")
    yield made
    for context in made.values():
        context.close()


@pytest.fixture
def visit(cluster: Cluster, contexts: dict[str, BrowserContext]) -> Iterator[Callable[[str], Page]]:
    """Opens one of PAGES, in a tab that is closed after the test."""
    opened: list[Page] = []

    def at(name: str) -> Page:
        page = contexts[PAGES[name].who].new_page()
        opened.append(page)
        page.goto(f"{cluster.url}{PAGES[name].path}")
        if PAGES[name].by:
            page.locator(PAGES[name].by).first.click()
        expect(page.locator(PAGES[name].shows).first).to_be_visible()
        return page

    yield at
    for page in opened:
        page.close()


@pytest.mark.parametrize("name", PAGES)
def test_everybody_can_use_it(visit: Callable[[str], Page], screenshot: Callable[[Page, str], None], name: str) -> None:
    page = visit(name)
    for form, (width, height) in WIDTHS.items():
        for scheme in SCHEMES:
            look(page, width, height, scheme)
            screenshot(page, f"{form}-{scheme}")
            assert not (found := violations(page)), f"{name}, {form}, {scheme}:\n" + "\n\n".join(found)
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{name}, {form}, {scheme}: {wide} px in a window of {width}"
    assert page.evaluate("document.documentElement.lang").startswith("en")


def look(page: Page, width: int, height: int, scheme: str) -> None:
    """See the page in one of its forms."""
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    settle(page)


def test_axe_finds_what_is_wrong(visit: Callable[[str], Page]) -> None:
    """The judge is awake: it says which rule, what to do and where."""
    page = visit("rooms-login")
    page.evaluate("document.querySelector('label').remove()")
    page.evaluate("document.querySelector('button').style.color = 'transparent'")
    found = violations(page)
    assert {text.split(":")[0] for text in found} >= {"label"}
    assert any("#id_username" in text and "https://" in text for text in found)


def test_each_page_has_a_title_of_its_own(visit: Callable[[str], Page]) -> None:
    titles: dict[str, str] = {}
    for name in PAGES:
        title = visit(name).title().strip()
        assert title, name
        assert title not in titles, f"{name} and {titles[title]} are both called {title!r}"
        titles[title] = name


def test_the_demo_needs_no_pointer(visit: Callable[[str], Page]) -> None:
    """Tab reaches everything in turn, what is focused is seen to be, and a room that was joined keeps the focus."""
    page = visit("demo")
    page.evaluate("document.activeElement.blur()")
    reached = focused_in_turn(page, 30)
    expected = {"add-name", "messages", "nick", "say", "send", "talk", "drop", "away", "flood", "log", "room", "toggle"}
    assert expected <= {spot["name"] for spot in reached}
    unseen = [spot["name"] for spot in reached if not (spot["outline"] and spot["seen"])]
    assert not unseen, f"focused, and nobody can see it: {unseen}"
    page.focus("#rooms li[data-channel='demo:random'] .toggle")
    page.keyboard.press("Enter")
    expect(page.locator("#rooms li[data-channel='demo:random'] .toggle")).to_have_text("leave")
    expect(page.locator("#rooms li[data-channel='demo:random'] .toggle")).to_be_focused()
    page.focus("#say")
    page.keyboard.type("without a pointer")
    page.keyboard.press("Enter")
    expect(page.locator("#messages")).to_contain_text("without a pointer")


def test_a_room_needs_no_pointer(visit: Callable[[str], Page]) -> None:
    page = visit("room")
    reached = focused_in_turn(page, 8)
    assert {"messages", "INPUT", "BUTTON", "A"} <= {spot["name"] for spot in reached}
    unseen = [spot["name"] for spot in reached if not (spot["outline"] and spot["seen"])]
    assert not unseen, f"focused, and nobody can see it: {unseen}"


def focused_in_turn(page: Page, presses: int) -> list[dict[str, Any]]:
    """What Tab leads to from the page's beginning."""
    spots = []
    for _ in range(presses):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement !== document.body"):
            spots.append(page.evaluate(FOCUS))
    return spots


def test_what_others_say_is_read_out_and_floods_nobody(visit: Callable[[str], Page]) -> None:
    """Screen readers are told at once while it is quiet; of a flood they are told how much of it there was."""
    one, other = visit("demo"), visit("demo")
    for page in (one, other):
        expect(page.locator("#state")).to_have_text("connected")
    heard = one.locator("#heard[role=status]")
    one.evaluate(
        "() => { window.told = []; new MutationObserver(() => told.push(document.getElementById('heard').textContent))"
        ".observe(document.getElementById('heard'), { childList: true }); }"
    )
    other.fill("#say", "said to everybody")
    other.press("#say", "Enter")
    expect(heard).to_contain_text(": said to everybody")
    other.click("#flood")
    expect(heard).to_contain_text(" more, and ")
    expect(one.locator("#messages")).to_contain_text("flood 30")
    assert len(one.evaluate("told")) < 10, "forty messages are not read out one by one"
    assert "said to everybody" not in other.locator("#heard").inner_text(), "nobody is read what they said themselves"


def test_nothing_moves_for_who_does_not_want_it(visit: Callable[[str], Page]) -> None:
    page = visit("demo")
    page.emulate_media(reduced_motion="no-preference")
    pulse = (
        "() => { const chip = document.getElementById('state'); chip.dataset.state = 'connecting';"
        " return getComputedStyle(chip, '::before').animationName; }"
    )
    assert page.evaluate(pulse) == "pulse"
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(pulse) == "none"


def test_what_the_demo_shows_in_passing_can_be_read(
    visit: Callable[[str], Page], contexts: dict[str, BrowserContext]
) -> None:
    """Messages that were refused, an outage while it lasts, and what is said after it."""
    away = False
    contexts["visitor"].route_web_socket("**", lambda socket: socket.close() if away else socket.connect_to_server())
    page = visit("demo")
    expect(page.locator("#state")).to_have_text("connected")
    page.click("#flood")
    expect(page.locator("#messages .message.failed").first).to_be_visible()
    away = True
    page.click("#drop")
    for kind in ("wait", "good"):
        away = kind == "wait"
        expect(page.locator(f"#banner[data-kind={kind}]")).to_be_visible()
        for scheme in SCHEMES:
            look(page, *WIDTHS["desk"], scheme)
            assert not (found := violations(page)), f"{kind}, {scheme}:\n" + "\n\n".join(found)


@pytest.mark.parametrize("name", ["rooms-login", "admin-login"])
def test_a_login_that_was_refused_says_so_to_everybody(visit: Callable[[str], Page], name: str) -> None:
    page = visit(name)
    page.fill("#id_username", "nobody")
    page.fill("#id_password", "wrong")
    page.press("#id_password", "Enter")
    expect(page.locator(".errorlist, .errornote").first).to_be_visible()
    for scheme in SCHEMES:
        look(page, *WIDTHS["phone"], scheme)
        assert not (found := violations(page)), f"{scheme}:\n" + "\n\n".join(found)


def test_charts_follow_the_theme(visit: Callable[[str], Page]) -> None:
    """They are drawn in the page's colours, so they are drawn again when those change."""
    page = visit("admin-cluster")
    page.emulate_media(color_scheme="light")
    drawn = page.locator("#connections canvas").element_handle()
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("(drawn) => !drawn.isConnected", arg=drawn)
    expect(page.locator("#connections canvas")).to_be_visible()
