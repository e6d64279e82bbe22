"""`{% live %}` in a real browser: rows are swapped by their keys, in order, around who is at them; without JavaScript
there is a plain page; what was missed is there afterwards."""

import json
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PATIENCE, ROOT
from tests.browser.live_project import live_project
from tests.cluster.support.processes import free_port, wait_until
from tests.store.redis_process import RedisProcess
from tests.tiny_projects.tiny import TinyProject

HTMX = ROOT / "examples" / "notices" / "static" / "notices" / "vendor" / "htmx.js"
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The project, served by one instance with a Redis of its own: its address."""
    redis = RedisProcess()
    try:
        with served(live_project(tmp_path_factory.mktemp("live"), redis.url)) as address:
            yield address
    finally:
        redis.close()


@contextmanager
def served(project: TinyProject) -> Iterator[str]:
    """Its address, once it answers."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    process = project.start("serve", "--instances", "1", "--port", str(port))

    def is_up() -> bool:
        assert process.poll() is None, process.communicate()
        try:
            with urllib.request.urlopen(f"{address}/health/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    try:
        wait_until(is_up, "the project is served")
        yield address
    finally:
        process.terminate()
        try:
            process.communicate(timeout=60)
        finally:
            process.kill()


@pytest.fixture
def open_page(site: str, browser: Browser, complaints: list[str]) -> Iterator[Open]:
    """Opens a page of the project in a browser of its own, as somebody or as a visitor."""
    contexts = []

    def opened(path: str, who: str = "", *, scripts: bool = True, live: bool = True) -> Page:
        contexts.append(browser.new_context(java_script_enabled=scripts))
        contexts[-1].set_default_timeout(PATIENCE)
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        if who:
            page.goto(f"{site}/enter/{who}/")
        page.goto(f"{site}/{path}/")
        if scripts and live:
            expect(page.locator("#rows")).to_have_attribute("data-live-state", "live")
        return page

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture
def do(site: str) -> Callable[..., None]:
    """Changes tickets, all in one transaction: `(what, pk, values)`."""

    def done(*changes: tuple[str, int, dict[str, Any]]) -> None:
        request = urllib.request.Request(f"{site}/do/", json.dumps(changes).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 200

    return done


_boards = iter(range(1, 1000))


@pytest.fixture
def board(do: Callable[..., None]) -> int:
    """A board with the tickets 1, 2 and 3 of it, by key `board * 100 + …`, in this order."""
    number = next(_boards)
    do(*(("save", number * 100 + n, {"board": number, "title": f"ticket {n}", "place": n * 10}) for n in (1, 2, 3)))
    return number


def keys(page: Page, at: str = "#rows") -> list[int]:
    """Which of the board's tickets are shown, in their order."""
    found = page.evaluate(
        "(at) => [...document.querySelector(at).children].map((row) => Number(row.dataset.liveKey) % 100)", at
    )
    return list(found)


def expect_keys(page: Page, wanted: list[int], at: str = "#rows") -> None:
    page.wait_for_function(
        "([at, wanted]) => [...document.querySelector(at).children]"
        ".map((row) => Number(row.dataset.liveKey) % 100).join() === wanted",
        arg=[at, ",".join(map(str, wanted))],
    )


def test_rows_are_put_replaced_moved_and_removed_by_their_keys(
    open_page: Open, do: Callable[..., None], board: int, complaints: list[str]
) -> None:
    one, other = open_page(f"list/board:{board}"), open_page(f"list/board:{board}")
    at = board * 100
    assert keys(one) == [1, 2, 3]
    one.evaluate("window.second = document.querySelector('#rows').children[1]")
    fetched: list[str] = []
    one.on("request", lambda request: fetched.append(request.url))
    do(("save", at + 4, {"board": board, "title": '<i>four</i> & "co"', "place": 15}))
    for page in (one, other):
        expect_keys(page, [1, 4, 2, 3])
        expect(page.locator(f"[data-live-key='{at + 4}'] b")).to_have_text('<i>four</i> & "co"')
    do(("save", at + 2, {"title": "second", "place": 99}), ("delete", at + 1, {}))
    expect_keys(one, [4, 3, 2])
    expect(one.locator(f"[data-live-key='{at + 2}'] b")).to_have_text("second")
    assert one.evaluate("window.second === document.querySelector('#rows').lastElementChild"), "another node"
    do(("update", board, {"place": 5}))  # one place for all: by title then, downwards
    expect_keys(other, [3, 2, 4])
    do(("save", at + 3, {"board": board + 500_000}))
    expect_keys(one, [2, 4])
    assert not fetched, "everything came with the publications"
    assert complaints == []


def test_who_is_at_a_row_is_left_alone(
    open_page: Open, do: Callable[..., None], board: int, complaints: list[str]
) -> None:
    """Typed text and the focus stay while the row changes and moves; a tick follows what the server says."""
    page, at = open_page(f"list/board:{board}"), board * 100
    second = page.locator(f"[data-live-key='{at + 2}']")
    second.locator(".note").type("half a sen")
    do(("save", at + 2, {"title": "changed", "place": 1}))
    expect(second.locator("b")).to_have_text("changed")
    expect_keys(page, [2, 1, 3])
    expect(second.locator(".note")).to_be_focused()
    page.keyboard.type("tence")
    expect(second.locator(".note")).to_have_value("half a sentence")
    second.locator("[type=checkbox]").check()
    do(("save", at + 2, {"done": True}))
    expect(page.locator("#rows li.done")).to_have_count(1)
    expect(second.locator("[type=checkbox]")).to_be_checked()
    do(("save", at + 2, {"done": False}))
    expect(page.locator("#rows li.done")).to_have_count(0)
    expect(second.locator("[type=checkbox]")).not_to_be_checked()
    do(("delete", at + 2, {}))
    expect_keys(page, [1, 3])
    assert complaints == []


def test_what_was_missed_is_there_afterwards(
    open_page: Open, do: Callable[..., None], board: int, complaints: list[str]
) -> None:
    """A few changes are recovered; after more than history keeps, all rows are fetched."""
    page, at = open_page(f"list/board:{board}"), board * 100
    for changes in (2, 120):
        page.context.set_offline(True)
        page.evaluate("dispatchEvent(new Event('offline'))")
        expect(page.locator("#rows")).to_have_attribute("data-live-state", "stale")
        for number in range(changes):
            do(("save", at + 1, {"title": f"change {changes} {number}"}))
        do(("delete", at + 3, {}), ("save", at + 50, {"board": board, "title": "new", "place": changes}))
        assert "change" not in page.locator("#rows").inner_text().replace(f"change 2 {1}", "")
        page.context.set_offline(False)
        page.evaluate("dispatchEvent(new Event('online'))")
        expect(page.locator(f"[data-live-key='{at + 1}'] b")).to_have_text(f"change {changes} {changes - 1}")
        expect_keys(page, [50, 1, 2] if changes == 2 else [1, 2, 50])
    assert complaints == []


def test_without_javascript_the_page_is_complete(open_page: Open, board: int) -> None:
    page = open_page(f"list/board:{board}", scripts=False)
    assert page.locator("#rows.rows li b").all_inner_texts() == ["ticket 1", "ticket 2", "ticket 3"]


def test_without_a_connection_the_page_stays_as_it_is(open_page: Open, board: int, site: str, browser: Browser) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.route_web_socket("**", lambda socket: socket.close())
    for path in ("**/connection/**", "**/flotilla/**"):
        page.route(path, lambda route: route.abort())
    with page.expect_request("**/connection/**"):
        page.goto(f"{site}/list/board:{board}/")
    expect(page.locator("#rows")).to_have_attribute("data-live-state", "connecting")
    assert keys(page) == [1, 2, 3]
    context.close()


def test_a_template_that_knows_its_user_is_fetched_for_each(
    open_page: Open, do: Callable[..., None], board: int, complaints: list[str]
) -> None:
    """It is nobody's in the publication, and a row of which it makes nothing is not shown."""
    boss, visitor = open_page(f"two/board:{board}", "boss"), open_page(f"two/board:{board}")
    at = board * 100
    for page, name in ((boss, "boss"), (visitor, "nobody")):
        expect(page.locator("#mine li").first).to_have_text(f"ticket 1 for {name}")
    fifth = {"board": board, "title": "fifth", "place": 1}
    do(("save", at + 2, {"title": "second", "done": True}), ("save", at + 5, fifth))
    expect_keys(boss, [5, 1, 2, 3], "#mine")
    expect_keys(visitor, [5, 1, 3], "#mine")
    expect(boss.locator("#mine li").nth(2)).to_have_text("second for boss")
    expect(visitor.locator("#mine li").first).to_have_text("fifth for nobody")
    expect_keys(visitor, [5, 1, 2, 3])
    do(("save", at + 2, {"done": False}), ("delete", at + 5, {}))
    expect_keys(visitor, [1, 2, 3], "#mine")
    expect_keys(boss, [1, 2, 3], "#mine")
    assert complaints == []


def test_rows_of_a_table_of_the_templates_own(
    open_page: Open, do: Callable[..., None], board: int, complaints: list[str]
) -> None:
    page = open_page(f"table/board:{board}", "ann")
    do(("save", board * 100 + 4, {"board": board, "title": "four", "place": 15}))
    expect_keys(page, [1, 4, 2, 3])
    expect(page.locator("tbody tr").nth(1)).to_have_text("fourann")
    assert complaints == []


def test_who_may_not_subscribe_is_shown_nothing(open_page: Open, site: str, board: int) -> None:
    page = open_page(f"list/staff:{board}", live=False)
    assert page.locator("body").inner_text().strip() == ""
    boss = open_page(f"list/staff:{board}", "boss")
    assert keys(boss) == [1, 2, 3]
    told = boss.locator("#rows").evaluate("({ dataset: { ...all } }) => all")
    query = f"template={told['liveTemplate']}&signature={told['liveSignature']}"
    ask = "(path) => fetch(path).then((answer) => answer.status)"
    assert boss.evaluate(ask, f"{told['liveFragments']}?{query}") == 200
    assert page.evaluate(ask, f"{told['liveFragments']}?{query}") == 403


def test_htmx_finds_what_comes_in(open_page: Open, do: Callable[..., None], board: int, complaints: list[str]) -> None:
    """The attributes of rows that were put or replaced work, and a container that HTMX brings is followed."""
    page, at = open_page(f"list/board:{board}"), board * 100
    page.evaluate(HTMX.read_text())
    do(("save", at + 4, {"board": board, "title": "four", "place": 99}), ("save", at + 2, {"title": "second"}))
    expect_keys(page, [1, 2, 3, 4])
    expect(page.locator(f"[data-live-key='{at + 2}'] b")).to_have_text("second")
    for key in (at + 4, at + 2):
        page.click(f"[data-live-key='{key}'] button")
        expect(page.locator(f"[data-live-key='{key}'] i")).to_have_text("up")
    page.evaluate(
        "(path) => htmx.ajax('GET', path, { target: 'body', swap: 'beforeend', select: '#mine' })",
        f"/two/board:{board}/",
    )
    expect(page.locator("#mine li")).to_have_count(4)
    do(("save", at + 1, {"title": "first"}))
    expect(page.locator("#mine li").first).to_have_text("first for nobody")
    expect(page.locator("#rows li b").first).to_have_text("first")
    assert complaints == []
