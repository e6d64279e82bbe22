"""The demo page in a real Chromium against a real cluster of two instances: what a visitor sees when it is broken."""

import re
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

OpenTab = Callable[[], Page]
Screenshot = Callable[[Page, str], None]


RECOVERED = re.compile(r"Recovered (\d+) missed messages? after \d+\.\d s on instance (\S+)")
BACK = re.compile(r"Back after \d+\.\d s on instance (\S+): nothing was missed")


def instance_of(tab: Page) -> str:
    return tab.locator("#instance").inner_text()


def say(tab: Page, text: str) -> None:
    tab.fill("#say", text)
    tab.click("#send")


def call(tab: Page, nick: str) -> None:
    tab.fill("#nick", nick)
    tab.press("#nick", "Tab")


def texts(tab: Page) -> list[str]:
    return tab.locator("#messages .message p").all_inner_texts()


def expect_message(tab: Page, text: str) -> None:
    expect(tab.locator("#messages .message:not(.pending) p", has_text=text).first).to_be_visible()


def two_tabs_on_two_instances(open_tab: OpenTab) -> tuple[Page, Page]:
    """The kernel chooses the instance of each connection, so open tabs until one is elsewhere."""
    first = open_tab()
    for _ in range(30):
        second = open_tab()
        if instance_of(second) != instance_of(first):
            return first, second
        second.close()
    raise AssertionError(f"thirty connections, all on {instance_of(first)}")


def wait_until_back(tab: Page) -> str:
    """The sentence the page says after the outage it is in (or is about to notice)."""
    banner = tab.locator("#banner[data-kind=good], #banner[data-kind=bad]")
    expect(banner).to_be_visible()
    return banner.inner_text()


def assert_nothing_lost(tab: Page, said: list[str]) -> None:
    """Every text exactly once and in order, and no gap or duplicate of an offset ever noticed by the page."""
    seen = [text for text in texts(tab) if text in set(said)]
    assert seen == said
    expect(tab.locator("#facts")).to_contain_text("gaps 0 · duplicates 0")


def test_tabs_on_two_instances_talk_and_see_each_other(
    open_tab: OpenTab, screenshot: Screenshot, complaints: list[str]
) -> None:
    ada, grace = two_tabs_on_two_instances(open_tab)
    call(ada, "Ada")
    call(grace, "Grace")
    say(ada, "hello from one instance")
    expect_message(grace, "hello from one instance")
    say(grace, "hello from the other")
    expect_message(ada, "hello from the other")
    for tab in (ada, grace):
        expect(tab.locator("#people")).to_contain_text("Ada")
        expect(tab.locator("#people")).to_contain_text("Grace")
    expect(ada.locator("#latency")).to_have_text(re.compile(r"^\d+ ms$"))
    expect(ada.locator("#log")).to_contain_text("joined")
    screenshot(ada, "chat")
    grace.close()
    expect(ada.locator("#people")).not_to_contain_text("Grace")
    expect(ada.locator("#log")).to_contain_text("Grace left")
    assert complaints == []


def test_rooms_are_joined_and_left_apart(open_tab: OpenTab) -> None:
    ada, grace = open_tab(), open_tab()
    for tab in (ada, grace):
        tab.fill("#add-name", "workshop")
        tab.press("#add-name", "Enter")
        expect(tab.locator("#title")).to_have_text("demo:workshop")
        expect(tab.locator("#people li")).to_have_count(2 if tab is grace else 1)
    grace.click("[data-channel='demo:lobby'] .room")
    say(ada, "only in the workshop")
    expect(grace.locator("[data-channel='demo:workshop'] .badge")).to_have_text("1")
    assert "only in the workshop" not in texts(grace)
    grace.click("[data-channel='demo:workshop'] .room")
    expect_message(grace, "only in the workshop")
    grace.click("[data-channel='demo:workshop'] .toggle")
    expect(ada.locator("#people li")).to_have_count(1)


def test_dropped_connection_recovers_what_was_said_meanwhile(
    open_tab: OpenTab, screenshot: Screenshot, complaints: list[str]
) -> None:
    ada, grace = two_tabs_on_two_instances(open_tab)
    before = [f"drop: before {number}" for number in range(2)]
    during = [f"drop: meanwhile {number}" for number in range(3)]
    for text in before:
        say(grace, text)
    expect_message(ada, before[-1])
    ada.select_option("#away", "10")
    ada.click("#drop")
    expect(ada.locator("#state")).to_have_attribute("data-state", "connecting")
    for text in during:
        say(grace, text)
    expect_message(grace, during[-1])
    assert not set(during) & set(texts(ada)), "the tab was not cut off"
    screenshot(ada, "away")
    said = RECOVERED.match(wait_until_back(ada))
    assert said and said[1] == "3" and said[2] == instance_of(ada)
    assert_nothing_lost(ada, before + during)
    expect(ada.locator(".message", has_text="drop: meanwhile").locator(".recovered")).to_have_count(3)
    screenshot(ada, "recovered")
    assert complaints == []


def test_dropped_connection_comes_back_by_itself_at_once(open_tab: OpenTab) -> None:
    ada = open_tab()
    client = ada.locator("#client").inner_text()
    ada.click("#drop")
    wait_until_back(ada)
    assert ada.locator("#client").inner_text() != client
    say(ada, "still here")
    expect_message(ada, "still here")


@pytest.mark.parametrize("how", ["drain", "kill"])
def test_stopped_instance_moves_the_tab_and_loses_nothing(
    how: str, open_tab: OpenTab, screenshot: Screenshot, complaints: list[str]
) -> None:
    ada, grace = two_tabs_on_two_instances(open_tab)
    lost, other = instance_of(ada), instance_of(grace)
    said = [f"{how}: message {number}" for number in range(400)]
    for text in said[:3]:
        say(grace, text)
    expect_message(ada, said[2])
    ada.click(f"[data-stop][value={how}]")
    count = say_until_back(grace, ada, said, 3)
    sentence = wait_until_back(ada)
    recovered, back = RECOVERED.match(sentence), BACK.match(sentence)  # back: nobody could say anything so soon
    missed, instance = recovered.groups() if recovered else ("0", back[1] if back else sentence)
    assert instance == instance_of(ada) == other != lost
    expect_message(ada, said[count - 1])
    assert_nothing_lost(ada, said[:count])
    marked = ada.locator(".message", has_text=f"{how}: message").locator(".recovered")
    expect(marked).to_have_count(int(missed))
    assert_nothing_lost(grace, said[:count])
    screenshot(ada, "moved")
    assert complaints == []


def say_until_back(speaker: Page, listener: Page, said: list[str], count: int) -> int:
    """One message after another while the listener is away; the number said in all."""
    away = False
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and count < len(said):
        kind = listener.locator("#banner").get_attribute("data-kind")
        away = away or kind == "wait"
        if kind in ("good", "bad"):
            return count
        say(speaker, said[count])
        expect_message(speaker, said[count])  # at the pace of the server, which keeps no endless history
        count += 1
    raise AssertionError(f"not back in time (it {'was' if away else 'never was'} away)")


def test_markup_from_others_is_shown_as_text(open_tab: OpenTab, complaints: list[str]) -> None:
    hostile = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script><b>bold</b>"
    ada, grace = open_tab(), open_tab()
    call(grace, "<i>Mallory</i>")
    say(grace, hostile)
    expect_message(ada, hostile)
    expect(ada.locator("#people")).to_contain_text("<i>Mallory</i>")
    assert ada.locator("#messages img, #messages script, #messages p b, #people i, #log i").count() == 0
    assert ada.title() == "Flotilla demo"
    assert complaints == []


def test_who_says_too_much_at_once_is_told_when_to_try_again(open_tab: OpenTab, screenshot: Screenshot) -> None:
    tab = open_tab()
    tab.click("#flood")
    denied = tab.locator("#messages .message.failed .note").first
    expect(denied).to_have_text(re.compile(r"^too fast: try again in \d+\.\d\d s$"))
    expect(tab.locator("#log")).to_contain_text("too many requests: retry in")
    expect_message(tab, "flood 1")
    screenshot(tab, "denied")

    def said_again() -> bool:
        say(tab, "patience")
        tab.wait_for_timeout(200)
        return tab.locator("#messages .message:not(.pending):not(.failed) p", has_text="patience").count() > 0

    deadline = time.monotonic() + 15
    while not said_again():
        assert time.monotonic() < deadline, "never welcome again"
    expect(tab.locator("#state")).to_have_attribute("data-state", "connected")


def test_page_is_usable_on_a_narrow_screen(open_tab: OpenTab, screenshot: Screenshot) -> None:
    tab = open_tab()
    for scheme in ("light", "dark"):
        tab.emulate_media(color_scheme=scheme)
        tab.set_viewport_size({"width": 380, "height": 780})
        assert tab.evaluate("document.documentElement.scrollWidth") <= 380
        for number in range(12):
            say(tab, f"narrow and {scheme}, {number}")
        expect_message(tab, f"narrow and {scheme}, 11")
        expect(tab.locator("#messages .message").last).to_be_in_viewport(ratio=0.9)
        screenshot(tab, scheme)
    for control in ("#drop", "[data-stop][value=drain]", "#log", "#people"):
        tab.locator(control).scroll_into_view_if_needed()
        box = tab.locator(control).bounding_box()
        assert box and box["x"] >= 0 and box["x"] + box["width"] <= 380
