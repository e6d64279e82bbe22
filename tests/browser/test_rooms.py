"""The example in two real browsers, on a real cluster: members talk, see each other, and are out once they are none."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, Request, Route, expect

from tests.browser.conftest import PATIENCE, Cluster
from tests.browser.people import log_in_as_admin, log_in_to_rooms

Visit = Callable[[str, str], Page]
Screenshot = Callable[[Page, str], None]
SUBSCRIBE = """(channel) => new Promise((resolve) => {
    const client = new Centrifuge(`ws://${location.host}/connection/websocket`);
    const sub = client.newSubscription(channel);
    sub.on("subscribed", () => resolve("subscribed"));
    sub.on("unsubscribed", ({ code, reason }) => resolve(`${code} ${reason}`));
    sub.subscribe();
    client.connect();
})"""
PUBLISH = """(channel) => {
    const client = new Centrifuge(`ws://${location.host}/connection/websocket`);
    client.connect();
    return client.publish(channel, { text: "forged" }).then(() => "published", ({ code }) => code);
}"""


@pytest.fixture
def visit(cluster: Cluster, browser: Browser, complaints: list[str]) -> Iterator[Visit]:
    """Opens a room in a browser of its own, in which the user has just logged in. Closed after the test."""
    cluster.wait_for_both()
    contexts = []

    def opened(user: str, room: str) -> Page:
        contexts.append(browser.new_context(viewport={"width": 720, "height": 600}))
        contexts[-1].set_default_timeout(PATIENCE)
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        log_in_to_rooms(page, cluster, user, room)
        return page

    yield opened
    for context in contexts:
        context.close()


def say(page: Page, text: str) -> None:
    page.fill("[name=text]", text)
    page.press("[name=text]", "Enter")


def expect_live(page: Page) -> None:
    expect(page.locator("#state")).to_have_text("live")


def test_members_talk_and_see_who_is_here_and_typing(
    visit: Visit, screenshot: Screenshot, complaints: list[str]
) -> None:
    ann, bob = visit("ann", "lobby"), visit("bob", "lobby")
    for page in (ann, bob):
        expect(page.locator("#people")).to_have_text("ann, bob")
    hostile = "<img src=x onerror=alert(1)>"
    say(ann, hostile)
    expect(bob.locator("#messages li").last).to_contain_text(f"ann {hostile}")
    assert bob.locator("#messages img").count() == 0
    ann.type("[name=text]", "I am just")
    expect(bob.locator("#typing")).to_have_text("ann typing…")
    screenshot(bob, "typing")
    expect(ann.locator("#typing")).to_be_empty()
    expect(bob.locator("#typing")).to_be_empty()  # once she has paused
    ann.reload()
    expect(ann.locator("#messages li").last).to_contain_text(hostile)  # typing is in no history
    bob.close()
    expect(ann.locator("#people")).to_have_text("ann")
    assert complaints == []


def test_what_was_said_during_an_outage_is_there_after_it(visit: Visit, complaints: list[str]) -> None:
    ann, bob = visit("ann", "lobby"), visit("bob", "lobby")
    expect_live(bob)
    loaded: list[str] = []
    bob.on("request", lambda request: loaded.append(request.url))
    bob.context.set_offline(True)
    bob.evaluate("dispatchEvent(new Event('offline'))")
    expect(bob.locator("#state")).to_have_text("connecting…")
    for number in range(3):
        say(ann, f"meanwhile {number}")
        expect(ann.locator("#messages li").last).to_contain_text(f"meanwhile {number}")
    expect(bob.locator("#messages")).not_to_contain_text("meanwhile")
    bob.context.set_offline(False)
    expect(bob.locator("#messages li").last).to_contain_text("meanwhile 2")
    said = bob.locator("#messages li", has_text="meanwhile").all_inner_texts()
    assert [text.split()[2] for text in said] == ["0", "1", "2"]
    assert not [url for url in loaded if url.endswith("/messages/")], "loaded anew, not recovered"
    assert complaints == []


def test_what_is_typed_while_a_message_is_sent_stays(visit: Visit, complaints: list[str]) -> None:
    """And what could not be sent comes back, to be sent again."""
    ann = visit("ann", "lobby")
    expect_live(ann)
    held: list[Route] = []

    def sent(request: Request) -> bool:
        return request.method == "POST" and request.url.endswith("/messages/")

    ann.route("**/messages/", lambda route: held.append(route) if route.request.method == "POST" else route.continue_())
    with ann.expect_request(sent):
        say(ann, "slow")
    ann.type("[name=text]", "typed meanwhile")
    held.pop().continue_()
    expect(ann.locator("#messages li").last).to_contain_text("slow")
    expect(ann.locator("[name=text]")).to_have_value("typed meanwhile")
    with ann.expect_request(sent):
        ann.press("[name=text]", "Enter")
    expect(ann.locator("[name=text]")).to_have_value("")
    held.pop().abort()
    expect(ann.locator("#state")).to_have_text("not sent: try again")
    expect(ann.locator("[name=text]")).to_have_value("typed meanwhile")
    assert complaints == []


def test_strangers_are_refused_everywhere(visit: Visit) -> None:
    """By the page, by the messages, and by the connection, whatever a script asks for."""
    bob = visit("bob", "lobby")
    expect_live(bob)
    assert bob.evaluate("fetch('/rooms/workshop/').then((answer) => answer.status)") == 404
    assert bob.evaluate("fetch('/rooms/workshop/messages/').then((answer) => answer.status)") == 404
    assert bob.evaluate(SUBSCRIBE, "room:lobby") == "subscribed"
    for channel in ("room:workshop", "typing:workshop", "room:nowhere", "room:"):
        assert bob.evaluate(SUBSCRIBE, channel) == "103 permission denied"
    for channel in ("room:lobby", "room:workshop", "typing:workshop"):
        assert bob.evaluate(PUBLISH, channel) == 103, f"{channel} was published into past the database"


def test_member_who_is_taken_out_in_the_admin_is_told_at_once(
    visit: Visit, cluster: Cluster, browser: Browser, screenshot: Screenshot
) -> None:
    bob, ann = visit("bob", "lobby"), visit("ann", "lobby")
    expect(ann.locator("#people")).to_have_text("ann, bob")
    context = browser.new_context()
    admin = context.new_page()
    log_in_as_admin(admin, cluster)
    admin.goto(f"{cluster.url}/admin/rooms/room/lobby/change/")
    membership = admin.locator("tr.has_original", has_text="bob in lobby")
    membership.locator("input[name$=DELETE]").check()
    admin.click("[name=_continue]")
    expect(bob.locator("#state")).to_have_text(
        "You are not a member of this room.", timeout=20_000
    )  # a round takes 30 s
    expect(bob.locator("[name=text]")).to_be_disabled()
    expect(ann.locator("#people")).to_have_text("ann")
    say(ann, "is he gone?")
    expect(ann.locator("#messages li").last).to_contain_text("is he gone?")
    expect(bob.locator("#messages")).not_to_contain_text("is he gone?")
    assert bob.evaluate(SUBSCRIBE, "typing:lobby") == "103 permission denied"
    screenshot(bob, "out")
    admin.click("text=Add another Membership")  # as it was, for other tests
    admin.locator("tr.dynamic-membership_set:not(.has_original) select").last.select_option(label="bob")
    admin.click("[name=_continue]")
    expect(admin.locator("tr.has_original", has_text="bob in lobby")).to_be_visible()
    context.close()


def test_who_logs_out_is_disconnected(visit: Visit) -> None:
    ann = visit("ann", "lobby")
    second = ann.context.new_page()
    second.goto(ann.url)
    expect_live(second)
    ann.click("text=Log out")
    expect(second.locator("#state")).to_have_text("Disconnected: logged out.")
